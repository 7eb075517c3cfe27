package jabber

import (
	"errors"
	"fmt"
	"testing"

	"pharos/account"
	"pharos/engine"
	"pharos/store"
)

// What passes by itself is an error of type wait (RFC 6120 §8.3.3.18).
func TestConditionOf(t *testing.T) {
	for err, want := range map[error]string{
		fmt.Errorf("engine: not saved: %w", store.ErrBusy): "resource-constraint",
		store.ErrFenced:            "resource-constraint",
		engine.ErrOverload:         "resource-constraint",
		engine.ErrGone:             "resource-constraint",
		engine.ErrTransient:        "resource-constraint",
		account.ErrBusy:            "resource-constraint",
		errors.New("disk full"):    "internal-server-error",
		fmt.Errorf("no such file"): "internal-server-error",
	} {
		if got := conditionOf(err); got != want {
			t.Errorf("%v is %s", err, got)
		}
	}
}
