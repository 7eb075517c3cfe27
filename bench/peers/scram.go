package peers

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"runtime"
	"sync"

	"pharos/bench"
)

// scramKeys are what a server stores of a password for SCRAM-SHA-1 (RFC 5802 §3).
type scramKeys struct {
	salt, stored, server []byte
	iterations           int
}

var (
	scramMu    sync.Mutex
	scramKnown = map[int][]scramKeys{} // by iterations: of the first users, since each costs milliseconds
)

// scramOf are the keys of the first n users.
func scramOf(n, iterations int) []scramKeys {
	scramMu.Lock()
	defer scramMu.Unlock()
	known := scramKnown[iterations]
	from := len(known)
	if n > from {
		known = append(known, make([]scramKeys, n-from)...)
		var g sync.WaitGroup
		for lane := range runtime.NumCPU() {
			g.Go(func() {
				for i := from + lane; i < n; i += runtime.NumCPU() {
					known[i] = scram(bench.PasswordOf(i), []byte("a salt for everybody"), iterations)
				}
			})
		}
		g.Wait()
		scramKnown[iterations] = known
	}
	return known[:n]
}

func scram(password string, salt []byte, iterations int) scramKeys {
	salted, err := pbkdf2.Key(sha1.New, password, salt, iterations, sha1.Size)
	if err != nil {
		panic(err) // the length is good
	}
	mac := func(key []byte, s string) []byte {
		h := hmac.New(sha1.New, key)
		h.Write([]byte(s))
		return h.Sum(nil)
	}
	stored := sha1.Sum(mac(salted, "Client Key"))
	return scramKeys{salt: salt, stored: stored[:], server: mac(salted, "Server Key"), iterations: iterations}
}
