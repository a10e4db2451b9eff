// visit reads every key and value of a bbolt file and prints how many there were, their bytes, and the seconds it took.
package main

import (
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

func main() {
	start := time.Now()
	db, err := bolt.Open(os.Args[1], 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	keys, bytes := 0, 0
	err = db.View(func(tx *bolt.Tx) error {
		return visit(tx.Cursor().Bucket(), &keys, &bytes)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	fmt.Println(keys, bytes, time.Since(start).Seconds())
}

func visit(bucket *bolt.Bucket, keys, bytes *int) error {
	return bucket.ForEach(func(key, value []byte) error {
		*keys++
		*bytes += len(key) + len(value)
		if value == nil {
			return visit(bucket.Bucket(key), keys, bytes)
		}
		return nil
	})
}
