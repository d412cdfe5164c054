// Command mkimages assembles the lab's images, without a container engine, from static executables and a few files of the
// machines' root file systems, as one OCI layout whose image indexes hold every architecture.
//
//	mkimages OUT REPOSITORY KUBERNETES ETCD COREDNS PAUSE FLANNEL ARCH=BINARIES=ROOTFS…
//
// Layers are shared by prefix (kube | kube+net | kube+net+flanneld): a node unpacks each once, and its components run from one inode.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// source is where one architecture's files come from.
type source struct{ arch, bin, root string }

// image is a name with tag, what runs, and the names of its layers.
type image struct {
	name       string
	entrypoint []string
	layers     []string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkimages:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 8 {
		return errors.New("usage: mkimages OUT REPOSITORY KUBERNETES ETCD COREDNS PAUSE FLANNEL ARCH=BINARIES=ROOTFS…")
	}
	out := store{args[0]}
	images := list(args[2], args[3], args[4], args[5], args[6])
	if err := os.MkdirAll(out.blobs(), 0o755); err != nil {
		return err
	}
	perArch := make([][]descriptor, len(images))
	for _, a := range args[7:] {
		p := strings.SplitN(a, "=", 3)
		if len(p) != 3 {
			return fmt.Errorf("%q is not ARCH=BINARIES=ROOTFS", a)
		}
		if err := assemble(out, source{p[0], p[1], p[2]}, images, perArch); err != nil {
			return fmt.Errorf("%s: %w", p[0], err)
		}
	}
	var all []descriptor
	for i, im := range images {
		d, err := out.put(typeIndex, index{2, typeIndex, perArch[i]})
		if err != nil {
			return err
		}
		ref := args[1] + "/" + im.name
		d.Annotations = map[string]string{"io.containerd.image.name": ref, "org.opencontainers.image.ref.name": ref}
		all = append(all, d)
	}
	return out.finish(all)
}

func list(kubernetes, etcd, coredns, pause, flannel string) []image {
	kube, net, flanneld := []string{"kube"}, []string{"kube", "net"}, []string{"kube", "net", "flanneld"}
	return []image{
		{"kube-apiserver:" + kubernetes, nil, kube},
		{"kube-controller-manager:" + kubernetes, nil, kube},
		{"kube-scheduler:" + kubernetes, nil, kube},
		{"kube-proxy:" + kubernetes, nil, net},
		{"etcd:" + etcd, nil, kube},
		{"coredns:" + coredns, []string{"/coredns"}, []string{"coredns"}},
		{"pause:" + pause, []string{"/pause"}, []string{"pause"}},
		{"flannel:" + flannel, []string{"/opt/bin/flanneld"}, flanneld},
		{"flannel-cni-plugin:" + flannel, nil, []string{"flannel-cni"}},
		{"echo:1", []string{"/echo", "serve"}, []string{"echo"}},
	}
}

// assemble adds one architecture's manifest to each image.
func assemble(out store, src source, images []image, perArch [][]descriptor) error {
	layers := map[string]descriptor{}
	for name, fill := range fillers {
		l, err := newLayer(out.dir)
		if err != nil {
			return err
		}
		fill(l, src)
		if layers[name], err = l.close(out.blobs()); err != nil {
			return fmt.Errorf("layer %s: %w", name, err)
		}
	}
	for i, im := range images {
		var ls []descriptor
		for _, n := range im.layers {
			ls = append(ls, layers[n])
		}
		d, err := out.image(src.arch, im.entrypoint, ls)
		if err != nil {
			return err
		}
		perArch[i] = append(perArch[i], d)
	}
	return nil
}

const passwd = "root:x:0:0:root:/root:/bin/false\n"

var fillers = map[string]func(*layer, source){
	"kube": func(l *layer, s source) {
		l.add(filepath.Join(s.bin, "kube"), "usr/local/bin/kube")
		for _, c := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "etcdctl", "kubectl"} {
			l.link("usr/local/bin/"+c, "kube")
		}
		l.text("etc/passwd", passwd)
		l.dir("tmp")
	},
	"net": netLayer,
	"flanneld": func(l *layer, s source) {
		l.add(filepath.Join(s.bin, "flanneld"), "opt/bin/flanneld")
		l.add(filepath.Join(s.bin, "cp"), "usr/bin/cp")
	},
	"flannel-cni": func(l *layer, s source) {
		l.add(filepath.Join(s.bin, "flannel-cni"), "flannel")
		l.add(filepath.Join(s.bin, "cp"), "bin/cp")
	},
	"coredns": func(l *layer, s source) { l.add(filepath.Join(s.bin, "coredns"), "coredns") },
	"pause":   func(l *layer, s source) { l.add(filepath.Join(s.bin, "pause"), "pause") },
	"echo": func(l *layer, s source) {
		l.add(filepath.Join(s.bin, "echo"), "echo")
		l.text("etc/passwd", passwd)
	},
}

// netLayer is the packet filter's tools with their libraries, out of the machine's own distribution.
func netLayer(l *layer, s source) {
	for _, name := range []string{"xtables-nft-multi", "xtables-legacy-multi", "conntrack"} {
		l.add(filepath.Join(s.root, "usr/sbin", name), "usr/sbin/"+name)
	}
	l.add(filepath.Join(s.bin, "iptables-wrapper"), "usr/sbin/iptables-wrapper")
	for _, name := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		l.link("usr/sbin/"+name, "iptables-wrapper")
	}
	triplet, loader := "x86_64-linux-gnu", "usr/lib64/ld-linux-x86-64.so.2"
	if s.arch == "arm64" {
		triplet, loader = "aarch64-linux-gnu", "usr/lib/ld-linux-aarch64.so.1"
	}
	lib := "usr/lib/" + triplet
	l.addMatching(filepath.Join(s.root, lib), lib,
		"libxtables", "libip4tc", "libip6tc", "libnftnl", "libmnl", "libnfnetlink", "libnetfilter_conntrack", "libc.so", "libm.so", "libgcc_s", "ld-linux")
	l.addMatching(filepath.Join(s.root, lib, "xtables"), lib+"/xtables", "")
	l.link(loader, "/"+lib+"/"+filepath.Base(loader))
	l.link("lib", "usr/lib")
	l.link("lib64", "usr/lib64")
	l.link("bin", "usr/bin")
	l.link("sbin", "usr/sbin")
	l.dir("usr/bin")
	l.dir("run")
	l.text("etc/passwd", passwd)
}
