// Package account is what an AWS account says about its functions, and what an
// extension inside an environment cannot see: throttles, the concurrency of the
// account, spill-over from provisioned concurrency, the age of asynchronous
// events, and how functions are configured.
//
// Package collect asks AWS for it; [Read] reads it from the file that `thaw
// account` writes. The report takes it as one more input, and says what is
// absent instead of assuming it.
package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Version is the version of the file: a number that rises when a field changes
// its meaning or goes away.
const Version = 1

// Account is one account in one region, over a range of time.
type Account struct {
	Version     int       `json:"version"`
	CollectedAt time.Time `json:"collected_at"`
	// Start and End are the range of the metrics, in whole hours.
	Start     time.Time `json:"start"`
	End       time.Time `json:"end"`
	AccountID string    `json:"account_id"`
	Region    string    `json:"region"`
	// Limits is null where the caller may not read them.
	Limits    *Limits    `json:"limits"`
	Functions []Function `json:"functions"`
	// Refused lists what AWS did not permit or could not answer. Fields that
	// depend on it are null.
	Refused []string `json:"refused"`
}

// Limits are the concurrency limits of the account in the region.
type Limits struct {
	ConcurrentExecutions           int64 `json:"concurrent_executions"`
	UnreservedConcurrentExecutions int64 `json:"unreserved_concurrent_executions"`
}

// Function is the configuration of $LATEST, and the metrics of all versions. A
// pointer that is nil was not asked for, or refused.
type Function struct {
	Name                string            `json:"name"`
	Runtime             string            `json:"runtime"`
	Architecture        string            `json:"architecture"`
	PackageType         string            `json:"package_type"`
	Handler             string            `json:"handler"`
	MemoryMB            int64             `json:"memory_mb"`
	TimeoutSeconds      int64             `json:"timeout_seconds"`
	EphemeralStorageMB  int64             `json:"ephemeral_storage_mb"`
	CodeBytes           int64             `json:"code_bytes"`
	Layers              []Layer           `json:"layers"`
	SnapStart           bool              `json:"snap_start"`
	VPC                 bool              `json:"vpc"`
	FileSystem          bool              `json:"file_system"`
	LastModified        string            `json:"last_modified"`
	Tags                map[string]string `json:"tags"`
	ReservedConcurrency *int64            `json:"reserved_concurrency"`
	// Unreserved is true where it is known that nothing is reserved.
	Unreserved  bool          `json:"unreserved"`
	Provisioned []Provisioned `json:"provisioned_concurrency"`
	Sources     []EventSource `json:"event_sources"`
	Metrics     *Metrics      `json:"metrics"`
}

// Layer is a layer of a function.
type Layer struct {
	ARN   string `json:"arn"`
	Bytes int64  `json:"bytes"`
}

// Provisioned is the provisioned concurrency of a version or an alias.
type Provisioned struct {
	Qualifier string `json:"qualifier"`
	Requested int64  `json:"requested"`
	Available int64  `json:"available"`
	// Utilization are the hourly maxima of ProvisionedConcurrencyUtilization,
	// 0 to 1, of the hours that have one.
	Utilization []float64 `json:"utilization"`
	Spillover   *float64  `json:"spillover_invocations"`
	Invocations *float64  `json:"invocations"`
}

// EventSource is a mapping that Lambda polls.
type EventSource struct {
	ARN            string `json:"arn"`
	State          string `json:"state"`
	BatchSize      int64  `json:"batch_size"`
	MaxConcurrency *int64 `json:"max_concurrency"`
	WindowSeconds  int64  `json:"window_seconds"`
}

// Metrics are CloudWatch's of a function over the range. A pointer that is nil
// had no data point, as of a function without asynchronous invocations.
type Metrics struct {
	Invocations                 *float64 `json:"invocations"`
	Errors                      *float64 `json:"errors"`
	Throttles                   *float64 `json:"throttles"`
	ConcurrentExecutionsMax     *float64 `json:"concurrent_executions_max"`
	AsyncEventAgeMaxMS          *float64 `json:"async_event_age_max_ms"`
	AsyncEventsReceived         *float64 `json:"async_events_received"`
	AsyncEventsDropped          *float64 `json:"async_events_dropped"`
	DeadLetterErrors            *float64 `json:"dead_letter_errors"`
	DestinationDeliveryFailures *float64 `json:"destination_delivery_failures"`
	IteratorAgeMaxMS            *float64 `json:"iterator_age_max_ms"`
	// ConcurrentExecutions are the hourly maxima, of the hours that have one.
	ConcurrentExecutions []float64 `json:"concurrent_executions"`
	// ThrottledHours counts the hours with a throttle.
	ThrottledHours int64 `json:"throttled_hours"`
}

// maxFile bounds what is read: ten thousand functions are a tenth of it.
const maxFile = 256 << 20

// Read reads what Write wrote.
func Read(r io.Reader) (*Account, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the account's data: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("the account's data is larger than %d MB", maxFile>>20)
	}
	var a Account
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fmt.Errorf("the account's data is not what `thaw account` writes: %w", err)
	}
	if a.Version != Version {
		return nil, fmt.Errorf("the account's data is of version %d, this thaw reads version %d: run `thaw account` again", a.Version, Version)
	}
	if a.AccountID == "" || a.Region == "" {
		return nil, errors.New("the account's data names no account or no region")
	}
	return &a, nil
}

// Write writes a as JSON.
func (a *Account) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(a)
}

// Find returns the function of that name.
func (a *Account) Find(name string) *Function {
	for i := range a.Functions {
		if a.Functions[i].Name == name {
			return &a.Functions[i]
		}
	}
	return nil
}
