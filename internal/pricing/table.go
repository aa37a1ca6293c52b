package pricing

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

//go:embed lambda-pricing.json
var embedded []byte

// Date is the day of the price list that is embedded.
const Date = "2026-09-19"

// key is where a price holds.
type key struct{ region, architecture string }

// Table is a price list.
type Table struct {
	rates map[key]*Rates
	// Date is the day of the price list: of the embedded one, or of the file
	// that replaces it.
	Date string
}

// Load reads the embedded price list.
func Load() (*Table, error) { return parse(embedded) }

// list is the embedded file.
type list struct {
	USEast1  region                        `json:"us-east-1"`
	Duration map[string]map[string]float64 `json:"regional_duration_per_gb_s_tier1"`
	Request  map[string]float64            `json:"regional_request"`
}

type region struct {
	Request          float64 `json:"request"`
	X86              arch    `json:"x86_64"`
	ARM              arch    `json:"arm64"`
	Storage          float64 `json:"ephemeral_storage_per_gb_s_over_512mb"`
	SnapStartCache   float64 `json:"snapstart_cache_per_gb_s"`
	SnapStartRestore float64 `json:"snapstart_restore_per_gb"`
	ResponseStream   float64 `json:"response_stream_per_gb"`
}

type arch struct {
	Tiers []struct {
		UpTo        *float64 `json:"upto_gb_s"`
		PerGBSecond float64  `json:"per_gb_s"`
	} `json:"tiers"`
	Provisioned         float64 `json:"pc_per_gb_s"`
	ProvisionedDuration float64 `json:"pc_duration_per_gb_s"`
}

func parse(data []byte) (*Table, error) {
	var file list
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("price list: %w", err)
	}
	if len(file.USEast1.X86.Tiers) == 0 || len(file.USEast1.ARM.Tiers) == 0 {
		return nil, fmt.Errorf("price list: us-east-1 has no duration price")
	}
	t := &Table{rates: map[key]*Rates{}, Date: Date}
	t.put(file.USEast1.rates(x86, file.USEast1.X86))
	t.put(file.USEast1.rates(arm, file.USEast1.ARM))
	for name := range file.Duration {
		if name != "default" {
			t.putRegional(file, name, name, RegionalList)
		}
	}
	for _, name := range defaultRegions() {
		t.putRegional(file, name, "default", AssumedDefault)
	}
	for _, r := range t.rates {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("price list: %w", err)
		}
	}
	return t, nil
}

func (t *Table) put(r *Rates) { t.rates[key{r.Region, r.Architecture}] = r }

// rates are those of us-east-1, where everything is known.
func (r region) rates(architecture string, a arch) *Rates {
	out := &Rates{Region: "us-east-1", Architecture: architecture, Basis: PriceList, Date: Date, items: map[Item]float64{
		Request: r.Request, Storage: r.Storage, SnapStartCache: r.SnapStartCache, SnapStartRestore: r.SnapStartRestore,
		ResponseStream: r.ResponseStream, Provisioned: a.Provisioned, ProvisionedDuration: a.ProvisionedDuration,
	}}
	for _, tier := range a.Tiers {
		upTo := math.Inf(1)
		if tier.UpTo != nil {
			upTo = *tier.UpTo
		}
		out.Tiers = append(out.Tiers, Tier{upTo, tier.PerGBSecond})
	}
	return out
}

// putRegional puts the prices of a region of which only the first tier of the
// duration and the requests are known. How far the first tier reaches is taken
// from us-east-1: beyond it there is no price.
func (t *Table) putRegional(file list, name, from string, basis Basis) {
	for _, architecture := range []string{x86, arm} {
		duration, ok := file.Duration[from][architecture]
		request, ok2 := file.Request[name]
		if !ok2 {
			request, ok2 = file.Request["default"]
		}
		if !ok || !ok2 {
			continue
		}
		first := t.rates[key{"us-east-1", architecture}].Tiers[0].UpTo
		t.put(&Rates{Region: name, Architecture: architecture, Basis: basis, Date: Date,
			Tiers: []Tier{{first, duration}}, items: map[Item]float64{Request: request}})
	}
}

// Rates returns the prices of a region and architecture.
func (t *Table) Rates(regionName, archName string) (*Rates, error) {
	name, err := architecture(archName)
	if err != nil {
		return nil, err
	}
	r, ok := t.rates[key{regionName, name}]
	if !ok {
		return nil, &UnknownError{Region: regionName}
	}
	return r, nil
}

// OnDemand returns the price of on-demand invocations in a region, in the first
// tier.
func (t *Table) OnDemand(regionName, archName string) (Price, error) {
	r, err := t.Rates(regionName, archName)
	if err != nil {
		return Price{}, err
	}
	return r.Price(0)
}

// Regions returns the regions that have prices.
func (t *Table) Regions() []string {
	var out []string
	for k := range t.rates {
		if !slices.Contains(out, k.region) {
			out = append(out, k.region)
		}
	}
	slices.Sort(out)
	return out
}

// defaultRegions are the major regions, which share one price. Regions that
// are not here may be dearer: ap-northeast-3 has been.
func defaultRegions() []string {
	return []string{
		"ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
		"ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3",
		"sa-east-1", "us-east-2", "us-west-1", "us-west-2",
	}
}
