// fill makes a bbolt file: fill FILE SHAPE PAGESIZE [COUNT]. Shapes are listed in main; freelists are kept unless the
// shape's name ends in -nofreelist.
package main

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"
)

func main() {
	path, shape := os.Args[1], os.Args[2]
	pageSize, err := strconv.Atoi(os.Args[3])
	must(err)
	count := 1000
	if len(os.Args) > 4 {
		count, err = strconv.Atoi(os.Args[4])
		must(err)
	}
	name := strings.TrimSuffix(shape, "-nofreelist")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: pageSize, NoFreelistSync: name != shape, NoSync: true})
	must(err)
	shapes := map[string]func(*bolt.DB, int){
		"empty":    func(*bolt.DB, int) {},
		"flat":     flat,
		"nested":   nested,
		"inline":   inline,
		"overflow": overflow,
		"deleted":  deleted,
		"mixed":    mixed,
		"blobs":    blobs,
		"long":     long,
		"steps":    steps,
	}
	shapes[name](db, count)
	must(db.Sync())
	must(db.Close())
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

func flat(db *bolt.DB, count int) {
	must(db.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("flat"))
		must(err)
		must(bucket.SetSequence(1 << 40))
		for i := 0; i < count; i++ {
			must(bucket.Put([]byte(fmt.Sprintf("key-%08d", i*7919%count)), []byte(strings.Repeat("v", i%100))))
		}
		return nil
	}))
}

func nested(db *bolt.DB, count int) {
	must(db.Update(func(tx *bolt.Tx) error {
		for i := 0; i < count/10; i++ {
			bucket, err := tx.CreateBucketIfNotExists([]byte(fmt.Sprintf("top-%d", i%7)))
			must(err)
			for depth := 0; depth < 1+i%12; depth++ {
				bucket, err = bucket.CreateBucketIfNotExists([]byte(fmt.Sprintf("level-%d-%d", depth, i%3)))
				must(err)
				_, err = bucket.NextSequence()
				must(err)
				must(bucket.Put([]byte(fmt.Sprintf("k%d", i)), []byte{byte(i)}))
			}
		}
		return nil
	}))
}

func inline(db *bolt.DB, count int) {
	must(db.Update(func(tx *bolt.Tx) error {
		for i := 0; i < count; i++ {
			bucket, err := tx.CreateBucket([]byte(fmt.Sprintf("b-%06d", i)))
			must(err)
			must(bucket.SetSequence(uint64(i)))
			for j := 0; j < i%4; j++ {
				must(bucket.Put([]byte{byte(j), byte(i)}, nil))
			}
		}
		return nil
	}))
}

func overflow(db *bolt.DB, count int) {
	must(db.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("big"))
		must(err)
		for i := 0; i < count/50; i++ {
			must(bucket.Put([]byte(strings.Repeat("k", 1+i*977%30000)+strconv.Itoa(i)), make([]byte, i*i*61%70000)))
		}
		return nil
	}))
}

func deleted(db *bolt.DB, count int) {
	random := rand.New(rand.NewSource(1))
	for round := 0; round < 20; round++ {
		must(db.Update(func(tx *bolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("churn"))
			must(err)
			for i := 0; i < count/20; i++ {
				must(bucket.Put([]byte(strconv.Itoa(random.Intn(count))), make([]byte, random.Intn(300))))
			}
			for i := 0; i < count/25; i++ {
				must(bucket.Delete([]byte(strconv.Itoa(random.Intn(count)))))
			}
			return nil
		}))
	}
	must(db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("gone"))
		must(err)
		return tx.DeleteBucket([]byte("gone"))
	}))
}

func mixed(db *bolt.DB, count int) {
	nested(db, count)
	flat(db, count)
	inline(db, count)
	overflow(db, count)
	deleted(db, count)
	must(db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("flat")) }))
}

// blobs makes what containerd leaves in meta.db for count blobs of one namespace: a bucket each with two times, a size
// and labels, so that no blob's bucket fits inline. An image of twenty blobs a transaction, digests at random: blobs that
// are neighbours by key lie far apart in the file. Names, sizes and labels have various lengths.
func blobs(db *bolt.DB, count int) {
	random := rand.New(rand.NewSource(2))
	stamp := []byte{1, 0, 0, 0, 14, 0xd9, 1, 2, 3, 4, 5, 6, 7, 0xff, 0xff}
	for made := 0; made < count; {
		must(db.Update(func(tx *bolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("v1"))
			must(err)
			must(bucket.Put([]byte("version"), []byte{8}))
			for _, name := range []string{"moby", "content", "blob"} {
				bucket, err = bucket.CreateBucketIfNotExists([]byte(name))
				must(err)
			}
			for i := 0; i < 20 && made < count; i++ {
				made++
				digest := make([]byte, 32)
				random.Read(digest)
				blob, err := bucket.CreateBucket([]byte(fmt.Sprintf("sha256:%x", digest)))
				must(err)
				must(blob.Put([]byte("createdat"), stamp))
				must(blob.Put([]byte("updatedat"), stamp))
				size := binary.AppendVarint(nil, random.Int63n(1<<30))
				must(blob.Put([]byte("size"), size))
				labels, err := blob.CreateBucket([]byte("labels"))
				must(err)
				source := "library/" + strings.Repeat("i", 3+made/20%23)
				must(labels.Put([]byte("containerd.io/distribution.source.docker.io"), []byte(source)))
				must(labels.Put([]byte("containerd.io/uncompressed"), []byte(fmt.Sprintf("sha256:%x", digest))))
			}
			return nil
		}))
	}
}

// long makes trees of many levels: few keys fit into a branch page.
func long(db *bolt.DB, count int) {
	must(db.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("long"))
		must(err)
		for i := 0; i < count; i++ {
			must(bucket.Put([]byte(fmt.Sprintf("%06d", i)+strings.Repeat("-", i*37%400)), make([]byte, i%60)))
		}
		return nil
	}))
}

// steps puts a short key in front of each page and a long one behind it.
func steps(db *bolt.DB, count int) {
	must(db.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("steps"))
		must(err)
		for i := 0; i < count; i++ {
			must(bucket.Put([]byte(fmt.Sprintf("%03d", i)), make([]byte, 400)))
			must(bucket.Put([]byte(fmt.Sprintf("%03d", i)+strings.Repeat("k", 300)), make([]byte, 100)))
		}
		return nil
	}))
}
