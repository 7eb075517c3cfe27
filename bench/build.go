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
	remove = func() error { return os.RemoveAll(dir) }
	if bin, err = BuildIn(ctx, dir, "-trimpath"); err != nil {
		_ = remove()
		return "", nil, err
	}
	return bin, remove, nil
}

// BuildIn is the same into a folder, with further flags of 'go build'.
func BuildIn(ctx context.Context, dir string, flags ...string) (bin string, err error) {
	bin = filepath.Join(dir, "pharos")
	if out, err := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", bin}, flags...), "pharos/cmd/pharos")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
}
