package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// EtcdMember is a member of the cluster's etcd.
type EtcdMember struct {
	ID      uint64
	Name    string   // the node's; "" = it has not started yet
	Peers   []string // the hosts of its peer URLs: IP addresses, with kubeadm
	Learner bool     // it does not vote
	Healthy bool
}

// String is the member's name, or that it has none yet, with the ID as etcdctl wants it, and where it is.
func (m EtcdMember) String() string {
	name := "one that has not started"
	if m.Name != "" {
		name = strconv.Quote(m.Name)
	}
	return fmt.Sprintf("%s (%x at %s)", name, m.ID, strings.Join(m.Peers, ", "))
}

// Well reports whether it does its part: it answers, and votes.
func (m EtcdMember) Well() bool { return m.Healthy && !m.Learner }

// IsOf reports whether it is a node's member. One that has not started yet is known by its address.
func (m EtcdMember) IsOf(node string, addresses ...string) bool {
	return m.Name == node || m.Name == "" && slices.ContainsFunc(m.Peers, func(p string) bool { return slices.Contains(addresses, p) })
}

// etcdctl is how the etcd of kubeadm's static pods is asked: in one of them, with the certificates it has.
var etcdctl = []string{
	"etcdctl", "--endpoints=https://127.0.0.1:2379", "--cacert=/etc/kubernetes/pki/etcd/ca.crt",
	"--cert=/etc/kubernetes/pki/etcd/server.crt", "--key=/etc/kubernetes/pki/etcd/server.key",
}

// EtcdMembers lists the members of the etcd that runs on the nodes, asked on one of them.
func (c *Client) EtcdMembers(ctx context.Context, node string) ([]EtcdMember, error) {
	list, err := c.etcdctl(ctx, node, "member", "list", "--write-out=json")
	if err != nil {
		return nil, fmt.Errorf("list etcd's members: %w", err)
	}
	// A member that is not well makes the command fail, and the answer still comes.
	health, err := c.etcdctl(ctx, node, "endpoint", "health", "--cluster", "--write-out=json")
	if len(bytes.TrimSpace(health)) == 0 && err != nil {
		return nil, fmt.Errorf("ask for etcd's health: %w", err)
	}
	return parseEtcd(list, health)
}

func parseEtcd(list, health []byte) ([]EtcdMember, error) {
	var members struct {
		Members []struct {
			ID         uint64   `json:"ID"`
			Name       string   `json:"name"`
			PeerURLs   []string `json:"peerURLs"`
			ClientURLs []string `json:"clientURLs"`
			Learner    bool     `json:"isLearner"`
		} `json:"members"`
	}
	if err := json.Unmarshal(list, &members); err != nil {
		return nil, fmt.Errorf("etcd's list of members cannot be read: %w", err)
	}
	var endpoints []struct {
		Endpoint string `json:"endpoint"`
		Health   bool   `json:"health"`
	}
	if err := json.Unmarshal(health, &endpoints); err != nil {
		return nil, fmt.Errorf("etcd's health cannot be read: %w", err)
	}
	if len(members.Members) == 0 { // who answers is one
		return nil, errors.New("etcd's list of members is empty, which it never is")
	}
	var out []EtcdMember
	for _, m := range members.Members {
		if m.ID == 0 {
			return nil, fmt.Errorf("etcd's list of members has one without an ID (%q)", m.Name)
		}
		e := EtcdMember{ID: m.ID, Name: m.Name, Learner: m.Learner}
		for _, peer := range m.PeerURLs {
			if u, err := url.Parse(peer); err == nil { // etcd has read it, too
				e.Peers = append(e.Peers, u.Hostname())
			}
		}
		for _, h := range endpoints {
			e.Healthy = e.Healthy || h.Health && slices.Contains(m.ClientURLs, h.Endpoint)
		}
		out = append(out, e)
	}
	return out, nil
}

// RemoveEtcdMember takes a member out, asked on the node of another.
func (c *Client) RemoveEtcdMember(ctx context.Context, node string, id uint64) error {
	if _, err := c.etcdctl(ctx, node, "member", "remove", strconv.FormatUint(id, 16)); err != nil {
		return fmt.Errorf("remove etcd member %x: %w", id, err)
	}
	return nil
}

func (c *Client) etcdctl(ctx context.Context, node string, args ...string) ([]byte, error) {
	var out, problems bytes.Buffer
	err := c.Exec(ctx, ExecOptions{
		Namespace: "kube-system", Pod: "etcd-" + node, Container: "etcd", Argv: slices.Concat(etcdctl, args), Stdout: &out, Stderr: &problems,
	})
	var exit *ExitError
	if errors.As(err, &exit) {
		words := strings.Split(strings.TrimSpace(problems.String()), "\n")
		err = fmt.Errorf("%w: %s", err, words[len(words)-1])
	}
	return out.Bytes(), err
}
