package cost

import (
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/vine-mesh/vine/bench"
)

// blockSizes are the lengths of the blocks that are compressed, each for itself.
var blockSizes = []int{256, 1024, 1400}

func compression(ctx context.Context, length time.Duration) (bench.Table, error) {
	t := bench.Table{Head: []string{"", "block", "ratio", "compress, us", "expand, us"}}
	binary, err := thisProgram()
	if err != nil {
		return t, err
	}
	image := make([]byte, 256<<10)
	random := rand.NewChaCha8([32]byte{1})
	if _, err := random.Read(image); err != nil {
		return t, err
	}
	for _, d := range []struct {
		name string
		data []byte
	}{{"text", prose()}, {"binary: this program", binary}, {"as in an image: random bytes", image}} {
		for _, n := range blockSizes {
			row, err := deflate(ctx, length, d.data, n)
			if err != nil {
				return t, err
			}
			t.Rows = append(t.Rows, append([]string{d.name, strconv.Itoa(n)}, row...))
		}
	}
	t.Notes = []string{"compress/flate, its default level. As in the dissertation: text gains most, what is compressed already gains nothing, expanding is faster" +
		" than compressing, and compressing costs more than encrypting. ViNe does not compress."}
	return t, nil
}

// deflate measures blocks of n bytes one after the other and returns the ratio and both times.
func deflate(ctx context.Context, length time.Duration, data []byte, n int) (row []string, err error) {
	var blocks, packed [][]byte
	w, err := flate.NewWriter(io.Discard, flate.DefaultCompression)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	plain, small := 0, 0
	for ; len(data) >= n && len(blocks) < 128; data = data[n:] {
		out.Reset()
		w.Reset(&out)
		if _, err := w.Write(data[:n]); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		blocks, packed = append(blocks, data[:n]), append(packed, bytes.Clone(out.Bytes()))
		plain, small = plain+n, small+out.Len()
	}
	i := 0
	compress, err := perCall(ctx, length, func() {
		out.Reset()
		w.Reset(&out)
		_, _ = w.Write(blocks[i%len(blocks)]) // a bytes.Buffer takes all
		_ = w.Close()
		i++
	})
	if err != nil {
		return nil, err
	}
	from, to := bytes.NewReader(nil), make([]byte, n)
	r := flate.NewReader(from)
	expand, err := perCall(ctx, length, func() {
		from.Reset(packed[i%len(packed)])
		_ = r.(flate.Resetter).Reset(from, nil)
		_, _ = io.ReadFull(r, to)
		i++
	})
	return []string{strconv.FormatFloat(float64(plain)/float64(small), 'f', 2, 64), microseconds(compress), microseconds(expand)}, err
}

// thisProgram returns the beginning of the code of the running program.
func thisProgram() ([]byte, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, 256<<10)
	n, err := f.ReadAt(b, 64<<10)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b[:n], nil
}

// prose returns text of words that follow each other at random, the frequent ones more often, as in a language (Zipf).
func prose() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 2000)
	for i := range words {
		word := make([]byte, 2+r.IntN(8))
		for j := range word {
			word[j] = "etaoinshrdlucmfwypvbgk"[min(r.IntN(22), r.IntN(22))]
		}
		words[i] = string(word)
	}
	frequent := rand.NewZipf(r, 1.1, 4, uint64(len(words)-1))
	var b bytes.Buffer
	for b.Len() < 256<<10 {
		b.WriteString(words[frequent.Uint64()])
		b.WriteByte(' ')
	}
	return b.Bytes()
}
