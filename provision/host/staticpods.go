package host

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// StaticPod is a container of a static pod.
type StaticPod struct {
	Name     string // the pod's, without the node: kube-apiserver
	Restarts int    // how often it was started again since the pod is there
	Since    time.Duration
	Last     []string // the last words of the run before the present one, in plain text; nil = there are none
}

// Bounds of what a host may say of one container.
const (
	maxStaticPods = 16
	maxLastWords  = 3
	maxWordsRunes = 200
)

// StaticPods lists the containers of the host's static pods, read from the kubelet's logs: neither the API server nor the runtime has
// to answer.
func (h *Host) StaticPods(ctx context.Context) ([]StaticPod, error) {
	out, err := h.script(ctx, "static-pods", nil)
	if err != nil {
		return nil, fmt.Errorf("look at the static pods: %w", err)
	}
	return parseStaticPods(out.Stdout)
}

func parseStaticPods(text []byte) ([]StaticPod, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Scan()
	now, err := time.Parse(time.RFC3339, lines.Text())
	if err != nil {
		return nil, fmt.Errorf("the host's answer about its static pods begins with %.40q, not with its clock", lines.Text())
	}
	var pods []StaticPod
	at := map[string]int{}
	current := -1
	for lines.Scan() {
		if words, ok := strings.CutPrefix(lines.Text(), "\t"); ok {
			if current >= 0 {
				pods[current].Last = lastWords(append(pods[current].Last, logText(words)))
			}
			continue
		}
		current = -1
		p, ok := staticPod(lines.Text(), now)
		if !ok {
			continue
		}
		i, twice := at[p.Name]
		switch {
		case !twice && len(pods) < maxStaticPods:
			i = len(pods)
			at[p.Name] = i
			pods = append(pods, p)
		case twice && p.Since > 0 && (pods[i].Since == 0 || p.Since < pods[i].Since): // the pod was made again from another manifest
			pods[i] = p
		default:
			continue
		}
		current = i
	}
	return pods, lines.Err()
}

// staticPod reads "pod container N TIME".
func staticPod(line string, now time.Time) (StaticPod, bool) {
	f := strings.Fields(line)
	if len(f) < 3 || plainText(line) != line {
		return StaticPod{}, false
	}
	n, err := strconv.Atoi(f[2])
	if err != nil || n < 0 {
		return StaticPod{}, false
	}
	p := StaticPod{Name: f[0], Restarts: n}
	if len(f) > 3 {
		if begun, err := time.Parse(time.RFC3339Nano, f[3]); err == nil && begun.Before(now) {
			p.Since = now.Sub(begun)
		}
	}
	return p, true
}

// logText is a line of a container's log without what the runtime puts before it: "TIME stdout F text".
func logText(line string) string {
	f := strings.SplitN(line, " ", 4)
	if len(f) == 4 && (f[1] == "stdout" || f[1] == "stderr") {
		line = f[3]
	}
	return plainText(line)
}

// plainText is text of anybody's as it may go to a terminal.
func plainText(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return '?'
	}, s))
	if runes := []rune(s); len(runes) > maxWordsRunes {
		s = string(runes[:maxWordsRunes]) + "…"
	}
	return s
}

func lastWords(lines []string) []string {
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines[max(0, len(lines)-maxLastWords):]
}
