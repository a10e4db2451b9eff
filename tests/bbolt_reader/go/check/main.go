// check opens a bbolt file read-only and says what Tx.Check finds: exit 0 nothing, 1 something (a line each),
// 3 when it cannot be opened. A panic ends it with Go's exit code 2, a fault of memory likewise.
package main

import (
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

func main() {
	db, err := bolt.Open(os.Args[1], 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(3)
	}
	found := 0
	err = db.View(func(tx *bolt.Tx) error {
		for problem := range tx.Check() {
			found++
			if found <= 50 {
				fmt.Println(problem)
			}
		}
		return nil
	})
	if err != nil {
		fmt.Println("view:", err)
		os.Exit(3)
	}
	if found > 0 {
		os.Exit(1)
	}
}
