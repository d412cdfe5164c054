// Package e2e drives the built binary, bin/hybridctl, against real machines: the lab's. It uses what a user has: the binary's JSON,
// kubectl and ssh, and imports nothing of what it tests.
package e2e
