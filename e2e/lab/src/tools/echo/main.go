// Command echo is the lab's test image. As a server it says who it is and reaches out on request; as a client
// (echo get URL, echo lookup NAME) it does the same once, for a test that runs it through kubectl exec or on the operator's side.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx := context.Background()
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serve(":8080")
	case len(args) == 2 && args[0] == "get":
		return get(ctx, os.Stdout, args[1])
	case len(args) == 2 && args[0] == "lookup":
		return lookup(ctx, os.Stdout, args[1])
	}
	return errors.New("usage: echo serve | get URL | lookup NAME")
}

func serve(addr string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, whoami()) })
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		reply(w, func(out io.Writer) error { return get(r.Context(), out, r.FormValue("u")) })
	})
	mux.HandleFunc("/lookup", func(w http.ResponseWriter, r *http.Request) {
		reply(w, func(out io.Writer) error { return lookup(r.Context(), out, r.FormValue("n")) })
	})
	server := http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

// reply sends what f writes, or its error as a bad gateway: the fault is beyond this pod.
func reply(w http.ResponseWriter, f func(io.Writer) error) {
	var body strings.Builder
	if err := f(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	io.WriteString(w, body.String())
}

// whoami is "<hostname> <GOARCH of this executable> <the kernel's machine>": the last two differ under emulation.
func whoami() string {
	host, _ := os.Hostname()
	var uts syscall.Utsname
	machine := "?"
	if syscall.Uname(&uts) == nil {
		machine = ""
		for _, c := range uts.Machine {
			if c == 0 {
				break
			}
			machine += string(rune(c))
		}
	}
	return fmt.Sprintf("%s %s %s", host, runtime.GOARCH, machine)
}

func get(ctx context.Context, out io.Writer, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 20 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		msg, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return fmt.Errorf("%s: %s: %s", url, resp.Status, strings.TrimSpace(string(msg)))
	}
	_, err = io.Copy(out, resp.Body)
	return err
}

func lookup(ctx context.Context, out io.Writer, name string) error {
	addrs, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, strings.Join(addrs, " "))
	return err
}
