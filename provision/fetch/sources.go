package fetch

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Sources say from where things come instead: a prefix of an address, or of an image's name, and what it is replaced by. Of several that
// fit, the longest counts. What is fetched is held against the same sums wherever it comes from.
//
//	https://dl.k8s.io: https://mirror.example/dl.k8s.io     files; the mirror may also be asked by http://
//	registry.k8s.io: harbor.example/k8s                     images; http://harbor.example/k8s where a registry speaks HTTP alone
type Sources map[string]string

// imagePrefix is the beginning of an image's name: a host, which has a dot or a port or is localhost, and folders.
var imagePrefix = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?)(/[a-z0-9][a-z0-9._-]*)*$`)

// Check returns nil, or an ErrInput with a line for each entry that is wrong.
func (s Sources) Check() error {
	var wrong []error
	for _, from := range slices.Sorted(maps.Keys(s)) {
		if err := checkSource(from, s[from]); err != nil {
			wrong = append(wrong, failf(ErrInput, "source %s: %v", shown(from), err))
		}
	}
	return errors.Join(wrong...)
}

func checkSource(from, to string) error {
	if strings.HasPrefix(from, "https://") {
		if err := checkAddress(from, "https"); err != nil {
			return err
		}
		if err := checkAddress(to, "https", "http"); err != nil {
			return fmt.Errorf("%s %w", shown(to), err)
		}
		return nil
	}
	if !imagePrefix.MatchString(from) {
		return errors.New("is neither an address that begins with https:// nor the beginning of an image's name, such as registry.k8s.io")
	}
	if strings.Contains(to, "://") {
		if err := checkAddress(to, "http", "https"); err != nil {
			return fmt.Errorf("%s %w", shown(to), err)
		}
	}
	plain, name := plainRegistry(to)
	if !imagePrefix.MatchString(name) {
		return fmt.Errorf("%s is not the beginning of an image's name, such as harbor.example/k8s", shown(to))
	}
	if err := checkPort(name); err != nil {
		return fmt.Errorf("%s %w", shown(to), err)
	}
	if host, path, _ := strings.Cut(name, "/"); host != "localhost" && !strings.ContainsAny(host, ".:") {
		port := ":443"
		if plain {
			port = ":80"
		}
		written := strings.TrimSuffix(to[:strings.Index(to, name)]+host+port+"/"+path, "/")
		return fmt.Errorf("%s names the registry %s without a dot or a port, which would be a folder of Docker Hub (write %s)", to, host, written)
	}
	return nil
}

// checkAddress says in a sentence's end what is wrong with an address.
func checkAddress(address string, schemes ...string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return errors.New("is not an address that can be read")
	case !slices.Contains(schemes, u.Scheme):
		return fmt.Errorf("does not begin with %s://", strings.Join(schemes, ":// or "))
	case u.User != nil:
		return errors.New("holds a name or a password, which is refused: it would be seen wherever the address is")
	case checkPort(u.Host) != nil:
		return checkPort(u.Host)
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("holds a query or a fragment, which is not taken along")
	}
	return nil
}

// checkPort refuses a port that no host has.
func checkPort(address string) error {
	host, _, _ := strings.Cut(address, "/")
	port := (&url.URL{Host: host}).Port()
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return errors.New("has a port that is none: they go from 1 to 65535")
	}
	return nil
}

// shown is an address without what may be secret in it.
func shown(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		if at := strings.LastIndex(address, "@"); at >= 0 {
			return "…" + address[at:]
		}
		return address
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// plainRegistry takes the scheme off a registry's address; true = it is asked by HTTP.
func plainRegistry(to string) (plain bool, name string) {
	if name, ok := strings.CutPrefix(to, "http://"); ok {
		return true, strings.TrimSuffix(name, "/")
	}
	return false, strings.TrimSuffix(strings.TrimPrefix(to, "https://"), "/")
}

// of replaces the longest prefix that fits, at the end of a part of the path.
func (s Sources) of(name string) string {
	best, found := "", false
	for from := range s {
		if fits(from, name) && (!found || len(from) > len(best)) {
			best, found = from, true
		}
	}
	if !found {
		return name
	}
	return strings.TrimSuffix(s[best], "/") + strings.TrimPrefix(name, strings.TrimSuffix(best, "/"))
}

// Idle are the prefixes that fit none of the places, which are addresses of files and names of images, and so change nothing: a sentence for
// each, with the hosts that there are.
func (s Sources) Idle(places []string) []string {
	var idle []string
	for _, from := range slices.Sorted(maps.Keys(s)) {
		if slices.ContainsFunc(places, func(place string) bool { return fits(from, place) }) {
			continue
		}
		files := strings.HasPrefix(from, "https://")
		kind, meant := "image", "https://"+from
		if files {
			kind, meant = "file", strings.TrimPrefix(from, "https://")
		}
		text := fmt.Sprintf("%s fits no %s that there is, and changes nothing: %ss come from %s", shown(from), kind, kind, strings.Join(hostsOf(places, files), ", "))
		if slices.ContainsFunc(places, func(place string) bool { return fits(meant, place) }) {
			text += fmt.Sprintf(" (is %s meant?)", shown(meant))
		}
		idle = append(idle, text)
	}
	return idle
}

// hostsOf are the hosts of the addresses of files, or of the names of images, each once.
func hostsOf(places []string, files bool) []string {
	var hosts []string
	for _, place := range places {
		rest, isFile := strings.CutPrefix(place, "https://")
		if host, _, _ := strings.Cut(rest, "/"); isFile == files && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) == 0 {
		return []string{"nowhere"}
	}
	slices.Sort(hosts)
	return hosts
}

// fits reports whether a prefix is the beginning of a name, up to the end of a part of its path.
func fits(prefix, name string) bool {
	rest, ok := strings.CutPrefix(name, strings.TrimSuffix(prefix, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

// place is a repository and how it is asked.
type place struct {
	repository string
	plain      bool
}

func (p place) host() string {
	host, _, _ := strings.Cut(p.repository, "/")
	return host
}

// image is where an image is asked for. CoreDNS has two names: mirrors that were filled by kubeadm's rules leave one part of it out, so
// that a second place may be worth a question.
func (s Sources) image(repository string) []place {
	to := s.of(repository)
	plain, name := plainRegistry(to)
	places := []place{{name, plain}}
	if short, ok := strings.CutSuffix(name, "/coredns/coredns"); ok && to != repository {
		places = append(places, place{short + "/coredns", plain})
	}
	return places
}

// plainHosts are the registries that are asked by HTTP.
func (s Sources) plainHosts() []string {
	var hosts []string
	for from, to := range s {
		if plain, name := plainRegistry(to); plain && !strings.Contains(from, "://") {
			host, _, _ := strings.Cut(name, "/")
			hosts = append(hosts, host)
		}
	}
	return hosts
}
