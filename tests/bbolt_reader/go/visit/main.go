// visit reads every key and value of a bbolt file, and prints how many there were and the seconds it took:
// visit FILE. With "visit FILE copy" it takes a copy of each key and value, as whoever keeps them must: what bbolt gives
// is part of its mapping and ends with the transaction.
package main

import (
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

var (
	keys    int
	kept    [2][]byte
	copying = len(os.Args) > 2 && os.Args[2] == "copy"
)

func main() {
	start := time.Now()
	db, err := bolt.Open(os.Args[1], 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	err = db.View(func(tx *bolt.Tx) error {
		return visit(tx.Cursor().Bucket())
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	fmt.Println(keys, time.Since(start).Seconds())
}

func visit(bucket *bolt.Bucket) error {
	return bucket.ForEach(func(key, value []byte) error {
		keys++
		if copying {
			kept = [2][]byte{append([]byte(nil), key...), append([]byte(nil), value...)}
		}
		if value == nil {
			return visit(bucket.Bucket(key))
		}
		return nil
	})
}
