package pricing

import (
	"math"
	"strings"
	"time"
)

// The free tier of a month, both architectures together. It does not apply to
// the duration of functions that have provisioned concurrency.
const (
	FreeRequests  = 1e6
	FreeGBSeconds = 400e3
	FreeStreamGB  = 100
)

// Usage is what was used in a month, in one region and on one architecture.
type Usage struct {
	Requests float64
	// GBSeconds is billed on-demand duration times memory size, billed init
	// included.
	GBSeconds float64
	// ProvisionedGBSeconds is the provisioned concurrency times its memory size
	// and the time for which it was configured, in steps of five minutes;
	// ProvisionedDurationGBSeconds what ran on it.
	ProvisionedGBSeconds         float64
	ProvisionedDurationGBSeconds float64
	// StorageGBSeconds is ephemeral storage above 512 MB times billed duration;
	// see [StorageGBSeconds].
	StorageGBSeconds float64
	// CacheGBSeconds is memory size times the time for which versions with
	// SnapStart were active, see [CacheTime]; RestoredGB memory size times
	// restores. Both are free where [SnapStartIsFree].
	CacheGBSeconds float64
	RestoredGB     float64
	// StreamedGB is what was streamed beyond the first 6 MB of each response.
	StreamedGB float64
	// FreeTier says that the free tier is this usage's to use up.
	FreeTier bool
}

// Bill is what a usage costs, in USD.
type Bill struct {
	Requests, Duration               float64
	Provisioned, ProvisionedDuration float64
	Storage                          float64
	SnapStartCache, SnapStartRestore float64
	ResponseStream                   float64
}

// Total returns the sum.
func (b Bill) Total() float64 {
	return b.Requests + b.Duration + b.Provisioned + b.ProvisionedDuration + b.Storage + b.SnapStartCache + b.SnapStartRestore + b.ResponseStream
}

// Bill returns what a usage costs. It fails with [UnknownError] when something
// was used whose price is not known.
func (r *Rates) Bill(u Usage) (Bill, error) {
	if u.FreeTier {
		u.Requests = max(0, u.Requests-FreeRequests)
		u.GBSeconds = max(0, u.GBSeconds-FreeGBSeconds)
		u.StreamedGB = max(0, u.StreamedGB-FreeStreamGB)
	}
	var b Bill
	var err error
	if b.Duration, err = r.Duration(u.GBSeconds); err != nil {
		return Bill{}, err
	}
	for _, line := range []struct {
		item   Item
		amount float64
		into   *float64
	}{
		{Request, u.Requests, &b.Requests},
		{Provisioned, u.ProvisionedGBSeconds, &b.Provisioned},
		{ProvisionedDuration, u.ProvisionedDurationGBSeconds, &b.ProvisionedDuration},
		{Storage, u.StorageGBSeconds, &b.Storage},
		{SnapStartCache, u.CacheGBSeconds, &b.SnapStartCache},
		{SnapStartRestore, u.RestoredGB, &b.SnapStartRestore},
		{ResponseStream, u.StreamedGB, &b.ResponseStream},
	} {
		if line.amount == 0 {
			continue
		}
		price, err := r.Of(line.item)
		if err != nil {
			return Bill{}, err
		}
		*line.into = price * line.amount
	}
	return b, nil
}

// GBSeconds returns memory size times billed duration.
func GBSeconds(memoryMB, seconds float64) float64 { return memoryMB / 1024 * seconds }

// StorageGBSeconds returns what is charged of ephemeral storage: what is above
// 512 MB, while the function runs.
func StorageGBSeconds(storageMB, seconds float64) float64 {
	return max(0, storageMB-512) / 1024 * seconds
}

// ProvisionedTime returns the time that is charged for provisioned concurrency:
// rounded up to five minutes.
func ProvisionedTime(configured time.Duration) time.Duration {
	const step = 5 * time.Minute
	return time.Duration(math.Ceil(float64(configured)/float64(step))) * step
}

// CacheTime returns the time that is charged for the snapshot of a version: at
// least three hours.
func CacheTime(active time.Duration) time.Duration { return max(active, 3*time.Hour) }

// SnapStartIsFree tells whether SnapStart is free for a managed runtime, as it is
// for Java's.
func SnapStartIsFree(runtime string) bool { return strings.HasPrefix(runtime, "java") }
