package bundle

import "io"

// OpenBlob opens a blob of the bundle's images, an index or a manifest among them. What is read is not verified here.
func (b *Bundle) OpenBlob(digest string) (io.ReadCloser, error) {
	r, err := b.layout.OpenBlob(digest)
	if err != nil {
		return nil, sentencef(ErrDamaged, "bundle %s is damaged: %v", b.Dir, err)
	}
	return r, nil
}
