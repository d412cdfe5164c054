// Command flannel-cni is the "flannel" CNI plugin: it turns the subnet that flanneld wrote down into a configuration of the
// bridge plugin and hands over to it. (Upstream's plugin cannot be built from the module proxy.)
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const subnetFile = "/run/flannel/subnet.env"

func main() {
	if err := run(); err != nil {
		// The error object of the CNI specification, on standard output; 11 is "try again later".
		json.NewEncoder(os.Stdout).Encode(map[string]any{"cniVersion": "1.0.0", "code": 11, "msg": "flannel: " + err.Error()})
		os.Exit(1)
	}
}

func run() error {
	conf := map[string]any{}
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(in, &conf); err != nil {
		return fmt.Errorf("network configuration: %w", err)
	}
	env, err := os.ReadFile(subnetFile)
	switch {
	case err == nil:
		if conf, err = delegate(conf, parseEnv(string(env))); err != nil {
			return err
		}
	case os.Getenv("CNI_COMMAND") == "ADD":
		return err // flanneld has no lease yet
	default: // DEL, CHECK, VERSION, GC, STATUS after flanneld has gone: the bridge plugin finds what it needs by itself
		conf = bridge(conf)
	}
	return handOver(conf)
}

func parseEnv(s string) map[string]string {
	env := map[string]string{}
	for line := range strings.Lines(s) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			env[k] = v
		}
	}
	return env
}

// bridge is the delegate of the network configuration, with the defaults that do not depend on the lease.
func bridge(conf map[string]any) map[string]any {
	d, _ := conf["delegate"].(map[string]any)
	if d == nil {
		d = map[string]any{}
	}
	setDefault(d, "type", "bridge")
	setDefault(d, "bridge", "cni0")
	setDefault(d, "isDefaultGateway", true)
	setDefault(d, "ipam", map[string]any{"type": "host-local"})
	d["name"], d["cniVersion"] = conf["name"], conf["cniVersion"]
	if prev, ok := conf["prevResult"]; ok {
		d["prevResult"] = prev
	}
	return d
}

// delegate adds the node's lease.
func delegate(conf map[string]any, env map[string]string) (map[string]any, error) {
	subnet, err := netip.ParsePrefix(env["FLANNEL_SUBNET"]) // the gateway's address with the prefix length
	if err != nil {
		return nil, fmt.Errorf("%s: FLANNEL_SUBNET: %w", subnetFile, err)
	}
	mtu, err := strconv.Atoi(env["FLANNEL_MTU"])
	if err != nil {
		return nil, fmt.Errorf("%s: FLANNEL_MTU: %w", subnetFile, err)
	}
	d := bridge(conf)
	setDefault(d, "mtu", mtu)
	setDefault(d, "ipMasq", env["FLANNEL_IPMASQ"] != "true") // flanneld masquerades already
	d["ipam"] = map[string]any{
		"type":   "host-local",
		"ranges": [][]map[string]string{{{"subnet": subnet.Masked().String()}}},
		"routes": []map[string]string{{"dst": env["FLANNEL_NETWORK"]}},
	}
	return d, nil
}

func setDefault(m map[string]any, key string, value any) {
	if _, ok := m[key]; !ok {
		m[key] = value
	}
}

func handOver(conf map[string]any) error {
	name, _ := conf["type"].(string)
	in, err := json.Marshal(conf)
	if err != nil {
		return err
	}
	for _, dir := range filepath.SplitList(os.Getenv("CNI_PATH")) {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		cmd := exec.Command(path)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), os.Stdout, os.Stderr
		if cmd.Run() != nil {
			os.Exit(1) // it has said why, on the same standard output
		}
		return nil
	}
	return fmt.Errorf("no plugin %q in %s", name, os.Getenv("CNI_PATH"))
}
