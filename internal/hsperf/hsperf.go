// Package hsperf reads the counters that a HotSpot JVM keeps in
// /tmp/hsperfdata_<user>/<pid>, from outside and without its help: 32 KB of
// shared memory that jstat and jcmd read too. It is on unless -XX:-UsePerfData
// is given, and needs no agent, no hook and no option.
//
// The counters are sums. They tell how much of an init was loading, verifying
// and initialising classes, not which; [Profile] makes approximate records of
// them.
package hsperf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/thaw-lambda/thaw/internal/initprofile"
)

// Counters are numbers and texts by name, such as sun.cls.time.
type Counters struct {
	Numbers map[string]int64
	Texts   map[string]string
}

const (
	magic       = 0xcafec0c0
	prologue    = 32
	entryHeader = 20
	// MaxBytes is what a file may have: the JVM makes it 32 KB.
	MaxBytes   = 1 << 20
	maxEntries = 4096
)

// Parse reads a file of version 2, which may be a stranger's, and may be written
// to while it is read: a counter is one aligned word.
func Parse(data []byte) (Counters, error) {
	c := Counters{map[string]int64{}, map[string]string{}}
	if len(data) < prologue || len(data) > MaxBytes || binary.BigEndian.Uint32(data) != magic {
		return c, errors.New("hsperf: not a file of performance data")
	}
	var order binary.ByteOrder = binary.BigEndian
	if data[4] == 1 {
		order = binary.LittleEndian
	}
	if major := data[5]; major != 2 {
		return c, fmt.Errorf("hsperf: version %d is not 2", major)
	}
	if data[7] == 0 {
		return c, errors.New("hsperf: the JVM is still writing it")
	}
	at, entries := uint64(order.Uint32(data[24:])), order.Uint32(data[28:])
	for range min(entries, maxEntries) {
		if at < prologue || at+entryHeader > uint64(len(data)) {
			return c, nil // more was promised than is there
		}
		length := uint64(order.Uint32(data[at:]))
		if length < entryHeader || length > uint64(len(data))-at {
			return c, nil
		}
		c.add(data[at:at+length], order)
		at += length
	}
	return c, nil
}

// add reads an entry: offsets of its name and value, and the value's type.
func (c *Counters) add(entry []byte, order binary.ByteOrder) {
	name, value, vector := uint64(order.Uint32(entry[4:])), uint64(order.Uint32(entry[16:])), uint64(order.Uint32(entry[8:]))
	if name < entryHeader || name >= uint64(len(entry)) || value < entryHeader || value > uint64(len(entry)) {
		return
	}
	text, _, ok := bytes.Cut(entry[name:], []byte{0})
	if !ok {
		return
	}
	rest := entry[value:]
	switch kind := entry[12]; {
	case kind == 'J' && vector == 0 && len(rest) >= 8:
		c.Numbers[string(text)] = int64(order.Uint64(rest))
	case kind == 'B' && vector > 0 && vector <= uint64(len(rest)):
		said, _, _ := bytes.Cut(rest[:vector], []byte{0})
		c.Texts[string(text)] = string(said)
	}
}

// part is a sum of counters, in ticks. Parts do not contain one another.
type part struct {
	name  string
	ticks []string
}

func parts() []part {
	return []part{
		{"static initializers", []string{"sun.cls.classInitTime.self"}},
		{"class loading", []string{"sun.cls.sysClassLoadTime", "sun.cls.appClassLoadTime.self", "sun.cls.defineAppClassTime.self"}},
		{"class verification", []string{"sun.cls.classVerifyTime.self"}},
		{"class linking", []string{"sun.cls.classLinkedTime.self"}},
		{"garbage collection", []string{"sun.gc.collector.0.time", "sun.gc.collector.1.time"}},
	}
}

// Created is when the JVM began to be, the zero time if it does not say.
func (c Counters) Created() time.Time {
	if ms := c.Numbers["sun.rt.createVmBeginTime"]; ms > 0 {
		return time.UnixMilli(ms).UTC()
	}
	return time.Time{}
}

// ticks is a number of ticks as time.
func (c Counters) ticks(name string) time.Duration {
	frequency := c.Numbers["sun.os.hrt.frequency"]
	if n := c.Numbers[name]; n > 0 && frequency > 0 {
		return time.Duration(float64(n) / float64(frequency) * float64(time.Second))
	}
	return 0
}

const maxTime = time.Hour

// Profile makes an init profile of what a JVM counted: approximate records that
// do not nest, one behind the other from when the JVM was up. It returns nil
// where the JVM does not say when it began.
func (c Counters) Profile() *initprofile.Profile {
	created := c.Created()
	if created.IsZero() {
		return nil
	}
	up := time.UnixMilli(c.Numbers["sun.rt.createVmEndTime"]).Sub(created)
	if up < 0 || up > maxTime {
		up = 0
	}
	p := &initprofile.Profile{
		Runtime: "java", RuntimeVersion: c.Texts["java.property.java.version"], Origin: created,
		Facts: map[string]string{
			initprofile.FactHook:      "java/hsperfdata",
			initprofile.FactBootstrap: strconv.FormatInt(up.Microseconds(), 10),
			"classes":                 strconv.FormatInt(c.Numbers["java.cls.loadedClasses"], 10),
			"classes_shared":          strconv.FormatInt(c.Numbers["java.cls.sharedLoadedClasses"], 10),
			"jit_us":                  strconv.FormatInt(c.ticks("java.ci.totalTime").Microseconds(), 10),
		},
	}
	at := up
	for _, part := range parts() {
		var sum time.Duration
		for _, name := range part.ticks {
			sum += min(c.ticks(name), maxTime)
		}
		if sum < time.Microsecond {
			continue
		}
		p.Records = append(p.Records, initprofile.Record{
			ID: len(p.Records) + 1, Kind: initprofile.Class, Start: at, End: at + sum, Approximate: true, Name: part.name, CPU: -1,
		})
		at += sum
	}
	return p
}
