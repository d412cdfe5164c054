package kube

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// lockPatience is how long another program may hold the file's lock; kubectl holds it for milliseconds.
const lockPatience = 2 * time.Second

// MergeKubeconfig puts a cluster's kubeconfig into the file at path, as kubectl would: cluster, user and context are called
// name and replace those of that name, the context becomes the current one, everything else stays. A missing file is made
// (0600); an existing one keeps its mode, and is left alone when it cannot be read as a kubeconfig.
// ErrKubeconfig, ErrLocked, or the file's own errors.
func MergeKubeconfig(path string, add []byte, name string) error {
	add, err := RenameContext(add, name)
	if err != nil {
		return err
	}
	addition, err := clientcmd.Load(add)
	if err != nil {
		return badKubeconfig("not readable")
	}
	if path, err = throughLinks(path); err != nil {
		return err
	}
	unlock, err := lockKubeconfig(path, lockPatience)
	if err != nil {
		return err
	}
	return errors.Join(mergeInto(path, addition), unlock())
}

// mergeInto reads, merges and replaces the file, under its lock.
func mergeInto(path string, addition *clientcmdapi.Config) error {
	config, keep, err := loadExisting(path)
	if err != nil {
		return err
	}
	for name, cluster := range addition.Clusters {
		config.Clusters[name] = cluster
	}
	for name, user := range addition.AuthInfos {
		config.AuthInfos[name] = user
	}
	for name, context := range addition.Contexts {
		config.Contexts[name] = context
	}
	config.CurrentContext = addition.CurrentContext
	content, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return writeFile(path, content, keep)
}

// loadExisting reads the file; a missing or empty one is an empty kubeconfig.
func loadExisting(path string) (*clientcmdapi.Config, *owned, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return clientcmdapi.NewConfig(), nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	config, err := clientcmd.Load(content)
	if err != nil {
		return nil, nil, &failure{kind: ErrKubeconfig, text: path + " is not a kubeconfig" + yamlLine(err) + "; it was left as it is"}
	}
	keep := &owned{mode: info.Mode().Perm(), uid: os.Geteuid(), gid: os.Getegid()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		keep.uid, keep.gid = int(stat.Uid), int(stat.Gid)
	}
	return config, keep, nil
}

// throughLinks is the file that path leads to, so that a link stays a link; its directory is made when it is missing.
func throughLinks(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, os.MkdirAll(filepath.Dir(path), 0o700)
	}
	return target, err
}

// lockKubeconfig takes the lock that kubectl and client-go take: a file beside it that only one can create.
func lockKubeconfig(path string, patience time.Duration) (unlock func() error, err error) {
	lock := path + ".lock"
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		file, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case err == nil:
			return func() error { return os.Remove(lock) }, file.Close()
		case !errors.Is(err, fs.ErrExist):
			return nil, err
		case time.Now().After(end):
			return nil, &failure{kind: ErrLocked, text: "another program is changing " + path + "; if none is, remove " + lock}
		}
	}
}
