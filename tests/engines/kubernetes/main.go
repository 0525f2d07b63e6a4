// A real Kubernetes API server with its etcd, in one process, for tests: the first argument is a folder for etcd, the
// others are the API server's own.
package main

import (
	"log"
	"net/url"
	"os"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	// etcd makes its sockets where it runs: files named as these URLs.
	if err := os.Chdir(os.Args[1]); err != nil {
		log.Fatal(err)
	}
	options := embed.NewConfig()
	options.Dir = "etcd"
	options.LogLevel = "error"
	client := url.URL{Scheme: "unix", Host: "localhost:1"}
	peer := url.URL{Scheme: "unix", Host: "localhost:2"}
	options.ListenClientUrls, options.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	options.ListenPeerUrls, options.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	options.InitialCluster = options.InitialClusterFromName(options.Name)
	server, err := embed.StartEtcd(options)
	if err != nil {
		log.Fatal(err)
	}
	<-server.Server.ReadyNotify()
	os.Args = append([]string{os.Args[0], "--etcd-servers=" + client.String()}, os.Args[2:]...)
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}
