package report

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// Cell is one field of a Table.
type Cell struct {
	Text  string
	Style Style
}

// C is a Cell in the normal style.
func C(text string) Cell { return Cell{Text: text} }

// Table is text in columns. Its rows may have notes: lines of their own beneath the row.
type Table struct {
	head []string
	rows []row
}

type row struct {
	cells []Cell
	notes []string
}

// NewTable returns a table with these headings.
func NewTable(head ...string) *Table { return &Table{head: head} }

// Row adds a row. Missing cells are empty.
func (t *Table) Row(cells ...Cell) {
	for i := range cells {
		cells[i].Text = OneLine(cells[i].Text)
	}
	t.rows = append(t.rows, row{cells: cells})
}

// Note adds a line beneath the last row; an empty text adds nothing.
func (t *Table) Note(text string) {
	if text == "" || len(t.rows) == 0 {
		return
	}
	last := &t.rows[len(t.rows)-1]
	last.notes = append(last.notes, OneLine(text))
}

// Len returns the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// Write writes headings and rows; a table without rows writes nothing.
func (t *Table) Write(w io.Writer, color bool) error {
	if len(t.rows) == 0 {
		return nil
	}
	width := t.widths()
	var b bytes.Buffer
	head := make([]Cell, len(t.head))
	for i, h := range t.head {
		head[i] = Cell{h, Strong}
	}
	writeRow(&b, head, width, color)
	for _, r := range t.rows {
		writeRow(&b, r.cells, width, color)
		for _, n := range r.notes {
			b.WriteString(strings.Repeat(" ", width[0]+2) + n + "\n")
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (t *Table) widths() []int {
	width := make([]int, len(t.head))
	for i, h := range t.head {
		width[i] = utf8.RuneCountInString(h)
	}
	for _, r := range t.rows {
		for i, c := range r.cells {
			width[i] = max(width[i], utf8.RuneCountInString(c.Text))
		}
	}
	return width
}

// writeRow pads each cell but the last one that has text, so that no line ends in spaces.
func writeRow(b *bytes.Buffer, cells []Cell, width []int, color bool) {
	last := len(cells) - 1
	for last > 0 && cells[last].Text == "" {
		last--
	}
	for i, c := range cells[:last+1] {
		b.WriteString(Paint(c.Text, c.Style, color))
		if i < last {
			b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(c.Text)+2))
		}
	}
	b.WriteByte('\n')
}
