// kubeaudit sends audit events through the API server's own webhook backend.
//
//	kubeaudit -kubeconfig FILE [-mode batch|blocking] [-max-batch 400] [-max-wait 1s] [-backoff 500ms] < events.ndjson
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/plugin/pkg/audit/buffered"
	"k8s.io/apiserver/plugin/pkg/audit/webhook"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "webhook configuration in kubeconfig form")
	mode := flag.String("mode", "batch", "batch or blocking")
	maxBatch := flag.Int("max-batch", 400, "events in a batch")
	maxWait := flag.Duration("max-wait", time.Second, "longest wait before a batch is sent")
	pause := flag.Duration("backoff", 500*time.Millisecond, "pause before the first of five tries is repeated")
	flag.Parse()
	backoff := wait.Backoff{Duration: *pause, Factor: 1.5, Jitter: 0.2, Steps: 5}
	backend, err := webhook.NewBackend(*kubeconfig, auditv1.SchemeGroupVersion, backoff, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if *mode == "batch" {
		backend = buffered.NewBackend(backend, buffered.BatchConfig{BufferSize: 10000, MaxBatchSize: *maxBatch, MaxBatchWait: *maxWait,
			ThrottleEnable: true, ThrottleQPS: 10, ThrottleBurst: 15, AsyncDelegate: true})
	}
	stop := make(chan struct{})
	if err := backend.Run(stop); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 64<<20)
	sent, refused := 0, 0
	for in.Scan() {
		var v1 auditv1.Event
		if err := json.Unmarshal(in.Bytes(), &v1); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		var event auditinternal.Event
		if err := audit.Scheme.Convert(&v1, &event, nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		if backend.ProcessEvents(&event) {
			sent++
		} else {
			refused++
		}
	}
	close(stop)
	backend.Shutdown()
	fmt.Printf("{\"sent\":%d,\"refused\":%d}\n", sent, refused)
}
