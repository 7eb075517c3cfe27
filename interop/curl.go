package interop

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
)

// CurlVersion is the installed version, or ErrMissing.
func CurlVersion() (string, error) {
	bin, err := Find("curl")
	if err != nil {
		return "", err
	}
	words := strings.Fields(Version(bin, "--version"))
	return strings.Join(words[:min(2, len(words))], " "), nil
}

// Curl asks for a document or a part of it as u, with Digest: path is below the
// XCAP root, with a slash before it, and percent-encoded. A PUT carries body as
// kind. The answer's body comes back; any status but 2xx is an error.
func (s *Server) Curl(u User, method, path, kind, body string) (string, error) {
	bin, err := Find("curl")
	if err != nil {
		return "", err
	}
	args := []string{"-sS", "--max-time", "10", "--cacert", s.Certificate(), "--digest", "-u", u.Name + ":" + u.Password,
		"-X", method, "-w", "\n%{http_code}", "https://" + Domain + ":" + s.Port("https") + "/xcap" + path}
	cmd := exec.Command(bin, args...)
	if method == "PUT" {
		cmd.Args = append(cmd.Args, "-H", "Content-Type: "+kind, "--data-binary", "@-")
		cmd.Stdin = strings.NewReader(body)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("curl %s %s: %w\n%s", method, path, err, said.Bytes())
	}
	at := bytes.LastIndexByte(out, '\n')
	answer, status := string(out[:max(at, 0)]), string(out[at+1:])
	if !strings.HasPrefix(status, "2") {
		return "", fmt.Errorf("curl %s %s: status %s\n%s", method, path, status, answer)
	}
	return answer, nil
}
