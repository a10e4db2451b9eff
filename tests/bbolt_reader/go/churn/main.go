// churn uses a bbolt file as its owner would after an edit: churn FILE SEED COUNT opens it for writing, makes COUNT
// random changes to keys of all its buckets in 20 transactions, beside a copy of the contents in memory, and then holds
// both against each other, also after compacting. Exit 0 all is well, 1 a difference or a complaint of Tx.Check.
package main

import (
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
)

type contents map[string]map[string]string // keys and values by bucket path
type paths map[string][][]byte

func main() {
	seed, err := strconv.ParseInt(os.Args[2], 10, 64)
	must(err)
	count, err := strconv.Atoi(os.Args[3])
	must(err)
	random := rand.New(rand.NewSource(seed))
	options := &bolt.Options{Timeout: time.Second, NoSync: true, NoFreelistSync: seed%2 == 0}
	db, err := bolt.Open(os.Args[1], 0o600, options)
	must(err)
	check(db, "after opening")
	model, names := read(db)
	var order []string
	for name := range names {
		order = append(order, name)
	}
	sort.Strings(order)
	for round := 0; round < 20 && len(order) > 0; round++ {
		must(db.Update(func(tx *bolt.Tx) error {
			for i := 0; i < count/20; i++ {
				name := order[random.Intn(len(order))]
				bucket := find(tx, names[name])
				change(random, bucket, model[name], round)
			}
			return nil
		}))
	}
	check(db, "after the changes")
	compare(db, model, "after the changes")
	must(db.Close())

	db, err = bolt.Open(os.Args[1], 0o600, options)
	must(err)
	compare(db, model, "after opening again")
	small := os.Args[1] + ".compact"
	copied, err := bolt.Open(small, 0o600, options)
	must(err)
	must(bolt.Compact(copied, db, 0))
	check(copied, "after compacting")
	compare(copied, model, "after compacting")
	must(copied.Close())
	must(db.Close())
	must(os.Remove(small))
}

// change puts or deletes a key near one that is there, so that first keys of pages come and go.
func change(random *rand.Rand, bucket *bolt.Bucket, model map[string]string, round int) {
	var near []byte
	cursor := bucket.Cursor()
	if random.Intn(3) == 0 {
		near, _ = cursor.First()
	} else {
		near, _ = cursor.Seek([]byte{byte(random.Intn(256)), byte(random.Intn(256))})
	}
	if near == nil {
		// Of a bucket that this transaction has emptied, bbolt 1.5.0 looks for the last key for ever (cursor.go Last, prev).
		if first, _ := cursor.First(); first != nil {
			near, _ = cursor.Last()
		}
	}
	near = append([]byte(nil), near...)
	_, plain := model[string(near)]
	plain = plain && len(near) > 0 // the empty key is the sequence
	// Whole rounds of deletions, so that pages run empty and are joined.
	if plain && (round%3 == 2 || random.Intn(4) == 0) {
		must(bucket.Delete(near))
		delete(model, string(near))
		return
	}
	key := near
	switch random.Intn(4) {
	case 0:
		key = append(key, byte(random.Intn(256)))
	case 1:
		if len(key) > 1 {
			key = key[:len(key)-1]
		}
	case 2:
		key = []byte(strconv.Itoa(random.Intn(1 << 30)))
	}
	if len(key) == 0 {
		key = []byte("k")
	}
	if bucket.Bucket(key) != nil {
		return
	}
	value := make([]byte, random.Intn(200))
	if random.Intn(50) == 0 {
		value = make([]byte, random.Intn(20000))
	}
	random.Read(value)
	must(bucket.Put(key, value))
	model[string(key)] = string(value)
}

func find(tx *bolt.Tx, path [][]byte) *bolt.Bucket {
	bucket := tx.Bucket(path[0])
	for _, name := range path[1:] {
		bucket = bucket.Bucket(name)
	}
	return bucket
}

func read(db *bolt.DB) (contents, paths) {
	model, names := contents{}, paths{}
	must(db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bolt.Bucket) error {
			walk(bucket, [][]byte{append([]byte(nil), name...)}, model, names)
			return nil
		})
	}))
	return model, names
}

func walk(bucket *bolt.Bucket, path [][]byte, model contents, names paths) {
	name := fmt.Sprintf("%x", path)
	names[name] = path
	model[name] = map[string]string{"": fmt.Sprint(bucket.Sequence())}
	must(bucket.ForEach(func(key, value []byte) error {
		if value != nil {
			model[name][string(key)] = string(value)
			return nil
		}
		below := append(path[:len(path):len(path)], append([]byte(nil), key...))
		walk(bucket.Bucket(key), below, model, names)
		return nil
	}))
}

func compare(db *bolt.DB, model contents, when string) {
	found, _ := read(db)
	if len(found) != len(model) {
		fail("%s: %d buckets, of %d", when, len(found), len(model))
	}
	for name, keys := range model {
		if len(found[name]) != len(keys) {
			fail("%s: bucket %s has %d keys, of %d", when, name, len(found[name]), len(keys))
		}
		for key, value := range keys {
			if got, is := found[name][key]; !is || got != value {
				fail("%s: bucket %s key %x differs", when, name, key)
			}
		}
	}
}

func check(db *bolt.DB, when string) {
	found := 0
	must(db.View(func(tx *bolt.Tx) error {
		for problem := range tx.Check() {
			found++
			fmt.Println(when+":", problem)
		}
		return nil
	}))
	if found > 0 {
		os.Exit(1)
	}
}

func fail(format string, a ...interface{}) {
	fmt.Printf(format+"\n", a...)
	os.Exit(1)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}
