// Command serve is a real registry (github.com/distribution/distribution) that keeps what it holds in a folder, until it is killed. The lab's tests
// start it in the machines' network: serve ADDRESS FOLDER for everybody; serve ADDRESS FOLDER USER for those who know the password, which is in
// HYBRIDCTL_E2E_REGISTRY_PASSWORD; its hash is written into the folder.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"

	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	fmt.Fprintln(os.Stderr, "serve:", run(os.Args[1:]))
	os.Exit(1)
}

func run(args []string) error {
	password := os.Getenv("HYBRIDCTL_E2E_REGISTRY_PASSWORD")
	if len(args) != 2 && (len(args) != 3 || password == "") {
		return errors.New("usage: serve ADDRESS FOLDER, or HYBRIDCTL_E2E_REGISTRY_PASSWORD=… serve ADDRESS FOLDER USER")
	}
	// The driver that keeps all in memory copies a blob for every part that comes: large ones take minutes.
	config := &configuration.Configuration{Storage: configuration.Storage{"filesystem": configuration.Parameters{
		"rootdirectory": filepath.Join(args[1], "blobs"),
	}}}
	if len(args) == 3 {
		hashed, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			return err
		}
		users := filepath.Join(args[1], "htpasswd")
		if err := os.WriteFile(users, []byte(args[2]+":"+string(hashed)+"\n"), 0o600); err != nil {
			return err
		}
		config.Auth = configuration.Auth{"htpasswd": configuration.Parameters{"realm": "lab", "path": users}}
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
