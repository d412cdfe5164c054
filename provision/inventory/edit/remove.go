package edit

import "slices"

const hostsPath = "spec.hosts"

// RemoveHost returns the edit that takes a host out of the inventory. Comments on lines of their own stay, but for those
// inside of it. A *PathError says that there is no such host.
func RemoveHost(name string) Edit { return removeHost{name} }

type removeHost struct{ name string }

func (e removeHost) mean(d *document) (map[string]any, error) {
	steps, err := d.host(e.name)
	if err != nil {
		return nil, err
	}
	if list, _ := valueAt(d.values, steps[:len(steps)-1]).([]any); len(list) == 1 {
		return nil, &PathError{"without " + e.name + " no host would be left, and an inventory has one at least", "add another first"}
	}
	return drop(d.values, steps).(map[string]any), nil
}

func (e removeHost) splice(d *document) ([]byte, error) {
	steps, err := d.host(e.name)
	if err != nil {
		return nil, err
	}
	return d.remove(steps)
}

// host returns the steps to a host by its name.
func (d *document) host(name string) ([]step, error) {
	steps, err := d.resolve(hostsPath)
	if err != nil {
		return nil, err
	}
	list, _ := valueAt(d.values, steps).([]any)
	i := slices.IndexFunc(list, func(v any) bool { return member(v, "name") == name })
	if i < 0 {
		return nil, &PathError{text: noItem(hostsPath, name, list)}
	}
	return append(steps, step{index: i}), nil
}
