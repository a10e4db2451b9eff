// Package tig is what the nerdctl command needs of nerdctl's testing module: the command imports a package whose one
// function takes a T. The module itself is on no proxy; nerdctl's own go.mod replaces it by a folder of its repository.
package tig

// T stands for a running test, and the command never has one.
type T interface {
	Helper()
	Log(args ...any)
	FailNow()
	TempDir() string
}
