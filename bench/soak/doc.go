// Package soak runs a service of several nodes for a long time with many users, hurts it all the while, and
// looks at what its processes grow by, and at the end at whether everybody was told the truth.
package soak
