package config

import (
	"bytes"
	"fmt"
	"os"

	"github.com/pelletier/go-toml/v2"
)

// ReadStrict reads a file of another kind than the configuration into a struct with toml tags:
// unknown keys and wrong types are errors that name the line.
func ReadStrict(path string, into any) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st.Size() > MaxFile {
		return fmt.Errorf("%s has %d bytes; at most %d are read", path, st.Size(), MaxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	d := toml.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, explain(err))
	}
	return nil
}

// Write is such a struct as text.
func Write(v any) ([]byte, error) { return toml.Marshal(v) }
