package image

// Limit makes the bounds smaller, so that tests meet them soon, and returns what puts them back.
func Limit(files, steps int, unpacked int64) func() {
	f, s, u := maxFiles, maxSteps, freely
	maxFiles, maxSteps, freely = files, steps, unpacked
	return func() { maxFiles, maxSteps, freely = f, s, u }
}
