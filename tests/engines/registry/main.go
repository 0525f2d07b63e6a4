// A real image registry for tests, in memory: it listens on a free port of loopback and writes which.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	options := &configuration.Configuration{
		Version: configuration.CurrentVersion,
		Storage: configuration.Storage{"inmemory": configuration.Parameters{}},
	}
	options.HTTP.Secret = "of the tests"
	options.Log.Level = "error"
	fmt.Println(listener.Addr())
	log.Fatal(http.Serve(listener, handlers.NewApp(context.Background(), options)))
}
