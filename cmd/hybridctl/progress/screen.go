package progress

import (
	"bytes"
	"fmt"
	"io"
)

// screen is what the library draws on: each frame goes out in one write, and takes the place of the one before.
// It implements mpb.ConsoleWriter. The library's own cuts off rows by the terminal's height before it knows which are empty.
type screen struct {
	bytes.Buffer
	out  io.Writer
	size func() (width, height int)
}

// IsTerminal makes the library draw at its own pace.
func (s *screen) IsTerminal() bool { return true }

// GetTermSize returns the terminal's width, and a height in which all rows fit: the fillers keep to the real one.
func (s *screen) GetTermSize() (width, height int, err error) {
	width, _ = s.size()
	return width, maxRows + 1, nil
}

// Flush writes the frame, and begins the next with the way back to this one's first line.
func (s *screen) Flush(lines int) error {
	if _, err := s.WriteTo(s.out); err != nil {
		return err
	}
	if lines > 0 {
		fmt.Fprintf(&s.Buffer, "\x1b[%dA\x1b[J", lines)
	}
	return nil
}
