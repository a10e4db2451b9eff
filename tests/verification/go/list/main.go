// Lists a tar archive of standard input as Go's archive/tar reads it: a JSON line for each entry, names and
// attributes in hexadecimal, and a last line with what ended it.
package main

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
)

// Bytes of an entry that are hashed: holes may be of any length.
const hashed = 1 << 26

type entry struct {
	Name    string            `json:"name"`
	Kind    int               `json:"kind"`
	Link    string            `json:"link"`
	Mode    int64             `json:"mode"`
	UID     int               `json:"uid"`
	GID     int               `json:"gid"`
	Size    int64             `json:"size"`
	MTime   string            `json:"mtime"`
	Major   int64             `json:"major"`
	Minor   int64             `json:"minor"`
	Records map[string]string `json:"records"`
	SHA256  string            `json:"sha256"`
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := json.NewEncoder(out)
	archive := tar.NewReader(bufio.NewReader(os.Stdin))
	for {
		header, err := archive.Next()
		if err == io.EOF {
			lines.Encode(map[string]string{"end": ""})
			return
		}
		var digest = sha256.New()
		if err == nil {
			_, err = io.Copy(digest, io.LimitReader(archive, hashed))
		}
		if err != nil {
			lines.Encode(map[string]string{"end": err.Error()})
			return
		}
		records := map[string]string{}
		for key, value := range header.PAXRecords {
			records[hex.EncodeToString([]byte(key))] = hex.EncodeToString([]byte(value))
		}
		lines.Encode(entry{
			hex.EncodeToString([]byte(header.Name)), int(header.Typeflag), hex.EncodeToString([]byte(header.Linkname)),
			header.Mode, header.Uid, header.Gid, header.Size, header.ModTime.UTC().Format("2006-01-02T15:04:05.999999999Z"),
			header.Devmajor, header.Devminor, records, hex.EncodeToString(digest.Sum(nil)),
		})
	}
}
