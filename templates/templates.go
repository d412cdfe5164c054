// Package templates holds the bodies of everything that is put on a host or given to the API server, as files an
// administrator would have written, and the scripts that run on hosts. It is data: package render fills the templates in.
package templates

import "embed"

// FS holds the files by their paths below this folder. Files ending in .tmpl are text/template sources.
//
//go:embed kubeadm containerd systemd cni csi scripts os
var FS embed.FS

// Script returns the body of scripts/<name>.sh; a name that does not exist is a programming error and panics.
func Script(name string) string {
	b, err := FS.ReadFile("scripts/" + name + ".sh")
	if err != nil {
		panic("templates: " + err.Error())
	}
	return string(b)
}
