// Package redirect knows which clients follow a redirect: by what is configured, by
// what they announce, and by what each did the last time. It is pure.
package redirect
