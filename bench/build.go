package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds the server from this tree. remove takes it away.
func Build(ctx context.Context) (bin string, remove func() error, err error) {
	dir, err := os.MkdirTemp("", "pharos-bin-")
	if err != nil {
		return "", nil, err
	}
	bin, remove = filepath.Join(dir, "pharos"), func() error { return os.RemoveAll(dir) }
	if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", bin, "pharos/cmd/pharos").CombinedOutput(); err != nil {
		_ = remove()
		return "", nil, fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, remove, nil
}
