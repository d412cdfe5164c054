// Command serve is a real registry (github.com/distribution/distribution) in memory, for those who know the password, until it is killed. The lab's
// tests start it in the machines' network: serve ADDRESS USER FILE, with the password in HYBRIDCTL_E2E_REGISTRY_PASSWORD; its hash is written to FILE.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"

	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

func main() {
	fmt.Fprintln(os.Stderr, "serve:", run(os.Args[1:]))
	os.Exit(1)
}

func run(args []string) error {
	password := os.Getenv("HYBRIDCTL_E2E_REGISTRY_PASSWORD")
	if len(args) != 3 || password == "" {
		return errors.New("usage: HYBRIDCTL_E2E_REGISTRY_PASSWORD=… serve ADDRESS USER FILE")
	}
	hashed, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[2], []byte(args[1]+":"+string(hashed)+"\n"), 0o600); err != nil {
		return err
	}
	config := &configuration.Configuration{
		Storage: configuration.Storage{"inmemory": configuration.Parameters{}},
		Auth:    configuration.Auth{"htpasswd": configuration.Parameters{"realm": "lab", "path": args[2]}},
	}
	config.HTTP.Secret = "of the lab"
	logrus.SetLevel(logrus.ErrorLevel)
	app := handlers.NewApp(context.Background(), config)
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return (&http.Server{Handler: app, ReadHeaderTimeout: time.Minute}).Serve(l)
}
