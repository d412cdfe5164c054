package report

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// chromium runs the browser on a file of a report directory and returns its stdout.
func chromium(t *testing.T, dir, page string, args ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	if os.Getenv("HYBRIDCTL_TEST_BROWSER") == "" {
		t.Skip("starts a browser when HYBRIDCTL_TEST_BROWSER is set; `make e2e` does")
	}
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not on PATH (Debian: chromium); scripts/e2e.sh installs it and runs this test")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args = append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
		"--user-data-dir=" + t.TempDir(), "--virtual-time-budget=2000",
	}, append(args, "file://"+filepath.Join(dir, page))...)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, browser, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	return stdout.String()
}

// seen is what a person sees of the page.
type seen struct {
	Width     int      // of the window
	Needs     int      // the width the page takes
	Overflow  []string // what sticks out on the right
	Top       string   // the verdict, as far as it is seen without scrolling
	Text      string   // all text that is visible
	Squares   map[string]int
	Nodes     []string // names in the table of nodes
	Checks    []string // rows of the table of checks
	Failures  []string
	Filter    []string // what can be chosen; the choice is marked
	Light     bool     // the page is lighter than its text
	Contrast  float64  // the lowest of the texts
	Palest    string   // the text that has it
	Requests  int
	Untouched bool // nothing of the page's own went wrong
}

// looker is put at the end of a copy of the page. It tells the frame around it what is seen, as JSON.
const looker = `<script>
"use strict";
var problems = 0;
addEventListener("error", function () { problems++; });
addEventListener("load", function () { setTimeout(function () {
  function visible(e) { return e.checkVisibility({opacityProperty: true, visibilityProperty: true}) && e.getBoundingClientRect().width > 1; }
  function list(selector) { return Array.from(document.querySelectorAll(selector)).filter(visible); }
  function texts(selector) { return list(selector).map(function (e) { return e.innerText.replace(/\s+/g, " ").trim(); }); }
  function rgb(color) { return color.match(/[\d.]+/g).map(Number); }
  function light(color) {
    var c = rgb(color).slice(0, 3).map(function (v) { v /= 255; return v <= 0.04045 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); });
    return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
  }
  function ground(e) {
    for (; e; e = e.parentElement) {
      var c = getComputedStyle(e).backgroundColor, parts = rgb(c);
      if (parts.length < 4 || parts[3] > 0.9) { return c; }
    }
    return "rgb(255, 255, 255)";
  }
  var page = getComputedStyle(document.body), verdict = document.querySelector("#verdict");
  var box = verdict.getBoundingClientRect(), squares = {}, contrast = 99, palest = "";
  list("td.sq:not(.off)").forEach(function (e) { var t = e.innerText.trim()[0]; squares[t] = (squares[t] || 0) + 1; });
  list(".badge, .seal, dt, dd, p, th, td:not(.none):not(.off), a, summary, pre").forEach(function (e) {
    if (!e.innerText.trim()) { return; }
    var a = light(getComputedStyle(e).color), b = light(ground(e)), c = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (c < contrast) { contrast = c; palest = e.className + " " + e.innerText.slice(0, 30); }
  });
  var out = {
    Width: innerWidth, Needs: document.documentElement.scrollWidth,
    Overflow: list("main *, header *, nav *").filter(function (e) {
      return e.getBoundingClientRect().right > innerWidth + 0.5 && !e.closest(".scroll") && !e.closest("pre");
    }).map(function (e) { return e.tagName + "." + e.className; }),
    Top: visible(verdict) && box.top >= 0 && box.bottom <= innerHeight ? verdict.innerText.replace(/\s+/g, " ") : "",
    Text: document.body.innerText, Squares: squares,
    Nodes: texts(".nodes tbody th"), Checks: texts(".checks tbody tr"), Failures: texts("article h3"),
    Filter: list(".filter label").map(function (e) { return e.innerText.trim() + (e.querySelector("input").checked ? "*" : ""); }),
    Light: light(page.backgroundColor) > light(page.color), Contrast: contrast, Palest: palest,
    Requests: performance.getEntriesByType("resource").length, Untouched: problems === 0
  };
  parent.postMessage(JSON.stringify(out), "*");
}, 100); });
</script></body>`

// frame shows a page in a window of a given size, which may be narrower than those that a browser has.
const frame = `<!DOCTYPE html><meta name="color-scheme" content="light dark"><pre id="seen"></pre>
<script>addEventListener("message", function (e) { document.getElementById("seen").textContent = e.data; });</script>
<iframe style="border: 0; width: %dpx; height: %dpx" src="look.html%s"></iframe>`

// look opens the page in a browser and returns what is seen there; address is what follows the file's name.
func look(t *testing.T, dir, address string, width, height int, args ...string) seen {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(dir, pageFile))
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "look.html", strings.Replace(string(page), "</body>", looker, 1))
	write(t, dir, "frame.html", fmt.Sprintf(frame, width, height, address))
	dom := chromium(t, dir, "frame.html", append(args, "--window-size=1400,1000", "--dump-dom")...)
	_, after, _ := strings.Cut(dom, `<pre id="seen">`)
	text, _, found := strings.Cut(after, "</pre>")
	var s seen
	if err := json.Unmarshal([]byte(html.UnescapeString(text)), &s); !found || err != nil {
		t.Fatalf("the browser did not say what it sees: %v\n%.2000s", err, dom)
	}
	if s.Width != width {
		t.Errorf("the window is %d wide", s.Width)
	}
	if s.Needs > s.Width || len(s.Overflow) > 0 {
		t.Errorf("the page needs a width of %d and has %d; what sticks out: %q", s.Needs, s.Width, s.Overflow)
	}
	if s.Requests != 0 || !s.Untouched {
		t.Errorf("%d requests, script without error: %v", s.Requests, s.Untouched)
	}
	if s.Contrast < 4.5 { // WCAG 2, AA
		t.Errorf("the contrast of %q is %.2f", s.Palest, s.Contrast)
	}
	return s
}

const dark = "--blink-settings=preferredColorScheme=0"

func TestBrowser_Desktop(t *testing.T) {
	s := look(t, writeMixedRun(t), "", 1280, 900)
	if s.Top != "✗ Cluster lab failed" {
		t.Errorf("at the top is %q", s.Top)
	}
	for _, text := range []string{
		"Of 76 cells 1 failed, 1 was flaky, 8 could not be tried and 66 passed",
		"Likely cause", "the path drops VXLAN packets of full size", "set spec.network.mtu to 1350",
		"ping: local error: message too long, mtu=1400", "0 packets captured\n0 packets received by filter",
		"the inventory names no Ceph cluster", "Cortex-A76 (ARMv8.2-A)", "6.12.34+rpt-rpi-2712", "16 KiB", "3m12s",
	} {
		if !strings.Contains(s.Text, text) {
			t.Errorf("nobody sees %q", text)
		}
	}
	if strings.Contains(s.Text, "Shown is what touches") {
		t.Error("the page says it is filtered")
	}
	same(t, "squares", s.Squares, map[string]int{"✓": 30, "✗": 1, "≈": 1, "–": 4, "·": 4})
	same(t, "nodes", s.Nodes, []string{"x86-1", "x86-2", "arm-1 new", "arm-2 new"})
	same(t, "filter", s.Filter, []string{"all*", "amd64", "arm64"})
	same(t, "failures", s.Failures, []string{
		"✗ failed S5/udp/1400/podIP: arm-1 (arm64) → x86-2 (amd64)", "≈ flaky S6/tcp/64/clusterIP: x86-1 (amd64) → arm-2 (arm64)",
	})
	if len(s.Checks) != 11 || s.Checks[5] != "S5 pods on different nodes ✗ failed 23 0 1 0 50 s" {
		t.Errorf("checks: %q", s.Checks)
	}
	if !s.Light {
		t.Error("the page is dark")
	}
}

func TestBrowser_PhoneInDarkModeWithFilter(t *testing.T) {
	s := look(t, writeMixedRun(t), "#arch=amd64", 360, 800, dark)
	if s.Light {
		t.Error("the page is light")
	}
	if !strings.Contains(s.Top, "failed") {
		t.Errorf("at the top is %q", s.Top)
	}
	same(t, "nodes", s.Nodes, []string{"x86-1", "x86-2"})
	same(t, "filter", s.Filter, []string{"all", "amd64*", "arm64"})
	same(t, "squares", s.Squares, map[string]int{"✓": 22, "✗": 1, "≈": 1, "–": 4, "·": 4})
	if len(s.Checks) != 11 || !strings.HasPrefix(s.Checks[0], "N1 Arm and x86 nodes are added ✓ passed 2") {
		t.Errorf("checks: %q", s.Checks)
	}
	if !strings.Contains(s.Text, "Shown is what touches amd64.") {
		t.Error("the page does not say that it is filtered")
	}
}

// TestBrowser_LinkToAFailure: an address with a failure's name, as people send it, leads there.
func TestBrowser_LinkToAFailure(t *testing.T) {
	s := look(t, writeMixedRun(t), "#s5-udp-1400-podip-arm-1-x86-2", 800, 900)
	if s.Top != "" {
		t.Errorf("the page is at its top still: %q", s.Top)
	}
	if len(s.Failures) != 2 {
		t.Errorf("failures: %q", s.Failures)
	}
}

func TestBrowser_AbortedRun(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := abortedRun()
	r.Nodes, r.Phases = nil, nil
	if err := d.Write(r); err != nil {
		t.Fatal(err)
	}
	s := look(t, dir, "", 360, 800)
	if !strings.Contains(s.Top, "failed") {
		t.Errorf("at the top is %q", s.Top)
	}
	for _, text := range []string{"The run ended early: the probe's image could not be put on arm-2", "The run ended before it knew the nodes."} {
		if !strings.Contains(s.Text, text) {
			t.Errorf("nobody sees %q", text)
		}
	}
	if s.Squares["✓"] != 0 || s.Squares["–"] != 36 {
		t.Errorf("squares: %v", s.Squares)
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if !bytes.Equal(g, w) {
		t.Errorf("%s: %s, want %s", what, g, w)
	}
}

// TestBrowser_Pictures looks at the pixels. With REPORT_PICTURES=DIR the pictures are kept, for people to look at.
func TestBrowser_Pictures(t *testing.T) {
	dir := writeMixedRun(t)
	keep := dir
	if wanted := os.Getenv("REPORT_PICTURES"); wanted != "" {
		keep = wanted
	}
	for _, test := range []struct {
		name  string
		args  []string
		light bool
	}{
		{"light.png", []string{"--window-size=1280,2200"}, true},
		{"dark.png", []string{"--window-size=1280,2200", dark}, false},
		{"phone.png", []string{"--window-size=360,2200"}, true},
	} {
		file := filepath.Join(keep, test.name)
		chromium(t, dir, pageFile, append(test.args, "--screenshot="+file)...)
		background, red := pixels(t, file)
		if (background > 0x8000) != test.light {
			t.Errorf("%s: the background's brightness is %x", test.name, background)
		}
		if red < 500 {
			t.Errorf("%s: %d red pixels; the failure does not stand out", test.name, red)
		}
	}
}

// pixels returns how bright the corner of a picture is and how many strongly red pixels it has.
func pixels(t *testing.T, file string) (background uint32, red int) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	_, background, _, _ = picture.At(1, 1).RGBA()
	area := picture.Bounds()
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			if isRed(picture, x, y) {
				red++
			}
		}
	}
	return background, red
}

func isRed(picture image.Image, x, y int) bool {
	r, g, b, _ := picture.At(x, y).RGBA()
	return r > 0x9000 && g < 0x4800 && b < 0x4800
}

// TestBrowser_Print: each failure has a page of its own, however short it is.
func TestBrowser_Print(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := mixedRun()
	failures := 2
	for i := range r.Cells {
		if c := &r.Cells[i]; c.Check == "S6" && c.Verdict == Passed && failures < 10 {
			c.Verdict, c.Reason = Failing, "no answer"
			failures++
		}
	}
	if err := d.Write(r); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "report.pdf")
	if wanted := os.Getenv("REPORT_PICTURES"); wanted != "" {
		file = filepath.Join(wanted, "report.pdf")
	}
	chromium(t, dir, pageFile, "--no-pdf-header-footer", "--print-to-pdf="+file)
	pdf, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fewest, most := failures+3, failures+5 // before and after them
	if n := len(regexp.MustCompile(`/Type /Page\b`).FindAll(pdf, -1)); n < fewest || n > most {
		t.Errorf("%d pages, want %d to %d", n, fewest, most)
	}
}
