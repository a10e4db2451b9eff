// shrink writes a compacted copy of a bbolt file, as the command bbolt compact does: shrink FILE NEW. Transactions are of
// 64 KiB, which is that command's default (v1.5.0 cmd/bbolt/command/command_compact.go).
package main

import (
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

func main() {
	from, err := bolt.Open(os.Args[1], 0o400, &bolt.Options{ReadOnly: true})
	must(err)
	to, err := bolt.Open(os.Args[2], 0o600, nil)
	must(err)
	must(bolt.Compact(to, from, 65536))
	must(to.Close())
	must(from.Close())
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}
