// drop deletes buckets from a bbolt file, each in a transaction of its own: drop FILE NOFREELIST (PATH|touch)... where
// PATH is hexadecimal names joined by slashes, and touch a transaction that writes a top-level bucket's sequence anew.
package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	bolt "go.etcd.io/bbolt"
)

func main() {
	db, err := bolt.Open(os.Args[1], 0o600, &bolt.Options{NoFreelistSync: os.Args[2] == "true", NoSync: true})
	must(err)
	for _, argument := range os.Args[3:] {
		must(db.Update(func(tx *bolt.Tx) error {
			if argument == "touch" {
				return tx.ForEach(func(_ []byte, bucket *bolt.Bucket) error { return bucket.SetSequence(bucket.Sequence()) })
			}
			var bucket *bolt.Bucket
			names := strings.Split(argument, "/")
			for i, name := range names {
				key, err := hex.DecodeString(name)
				must(err)
				if i == len(names)-1 {
					return bucket.DeleteBucket(key)
				}
				if i == 0 {
					bucket = tx.Bucket(key)
				} else {
					bucket = bucket.Bucket(key)
				}
			}
			return nil
		}))
	}
	must(db.Sync())
	must(db.Close())
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}
