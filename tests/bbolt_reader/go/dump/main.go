// dump prints every bucket, sequence, key and value of a bbolt file, in the form of `drydock bolt dump`.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

func main() {
	db, err := bolt.Open(os.Args[1], 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	err = db.View(func(tx *bolt.Tx) error {
		root := tx.Cursor().Bucket()
		fmt.Fprintf(out, "bucket / %d\n", root.Sequence())
		return walk(out, root, nil)
	})
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

func walk(out *bufio.Writer, bucket *bolt.Bucket, path []string) error {
	return bucket.ForEach(func(key, value []byte) error {
		here := append(path[:len(path):len(path)], hex.EncodeToString(key))
		name := strings.Join(here, "/")
		if value != nil {
			fmt.Fprintf(out, "key %s %s\n", name, hex.EncodeToString(value))
			return nil
		}
		child := bucket.Bucket(key)
		if child == nil {
			return fmt.Errorf("%s: neither a value nor a bucket", name)
		}
		fmt.Fprintf(out, "bucket %s %d\n", name, child.Sequence())
		return walk(out, child, here)
	})
}
