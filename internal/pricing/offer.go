package pricing

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// OfferURL is where AWS publishes the price list of all regions, in the format
// that [Table.Replace] reads; with the name of a region before index.json it is
// that of one.
const OfferURL = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AWSLambda/current/index.json"

// maxOffer bounds what is read of a price list. That of all regions is some
// megabytes.
const maxOffer = 512 << 20

// offer is AWS's price list offer file, version v1.0: products by SKU, and terms
// by SKU.
type offer struct {
	OfferCode       string `json:"offerCode"`
	PublicationDate string `json:"publicationDate"`
	Products        map[string]struct {
		Attributes struct {
			UsageType  string `json:"usagetype"`
			RegionCode string `json:"regionCode"`
		} `json:"attributes"`
	} `json:"products"`
	Terms struct {
		OnDemand map[string]map[string]struct {
			PriceDimensions map[string]dimension `json:"priceDimensions"`
		} `json:"OnDemand"`
	} `json:"terms"`
}

// dimension is the price of a range of volumes.
type dimension struct {
	BeginRange   string            `json:"beginRange"`
	EndRange     string            `json:"endRange"`
	PricePerUnit map[string]string `json:"pricePerUnit"`
}

// Replace puts the prices of AWS's price list offer file in the place of the
// table's, for the regions that the file has. What the file does not price in
// such a region has no price then.
func (t *Table) Replace(r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, maxOffer+1))
	if err != nil {
		return err
	}
	if len(data) > maxOffer {
		return fmt.Errorf("price list file: larger than %d MB", maxOffer>>20)
	}
	var o offer
	if err := json.Unmarshal(data, &o); err != nil {
		return fmt.Errorf("price list file: not AWS's offer file in JSON, as of %s: %w", OfferURL, err)
	}
	if o.OfferCode != "AWSLambda" {
		return fmt.Errorf("price list file: its offer code is %q, not AWSLambda", o.OfferCode)
	}
	published, err := time.Parse(time.RFC3339, o.PublicationDate)
	if err != nil {
		return fmt.Errorf("price list file: its publication date is %q", o.PublicationDate)
	}
	rates, err := o.rates(published.UTC().Format(time.DateOnly))
	if err != nil {
		return fmt.Errorf("price list file: %w", err)
	}
	for _, r := range rates {
		t.put(r)
	}
	t.Date = published.UTC().Format(time.DateOnly)
	return nil
}

// usageType is a region's short name, which us-east-1 has none of, and what is
// used: USE2-Lambda-GB-Second-ARM. Lambda-Edge- and Global- are not regions.
var usageType = regexp.MustCompile(`^(?:[A-Z]{2,4}[0-9]?-)?(Request|Lambda-[A-Za-z-]+)$`)

// usages says what a usage type is, without its region and architecture.
func usages() map[string]Item {
	return map[string]Item{
		"Request":                        Request,
		"Lambda-GB-Second":               "", // tiers
		"Lambda-Provisioned-Concurrency": Provisioned,
		"Lambda-Provisioned-GB-Second":   ProvisionedDuration,
		"Lambda-Storage-GB-Second":       Storage,
		"Lambda-SnapStart-Cached-GB-S":   SnapStartCache,
		"Lambda-SnapStart-Restored-GB":   SnapStartRestore,
	}
}

func (o *offer) rates(date string) ([]*Rates, error) {
	all := map[key]*Rates{}
	known := usages()
	// Prices of one architecture after those of both, which they replace.
	skus := slices.SortedFunc(maps.Keys(o.Products), func(a, b string) int {
		armOf := func(sku string) int { return strings.Count(o.Products[sku].Attributes.UsageType, "-ARM") }
		return cmp.Or(cmp.Compare(armOf(a), armOf(b)), cmp.Compare(a, b))
	})
	for _, sku := range skus {
		product := o.Products[sku]
		name, isARM := strings.CutSuffix(product.Attributes.UsageType, "-ARM")
		match := usageType.FindStringSubmatch(name)
		if match == nil || product.Attributes.RegionCode == "" {
			continue
		}
		item, ok := known[match[1]]
		if !ok {
			continue
		}
		tiers, err := o.tiers(sku)
		if err != nil {
			return nil, fmt.Errorf("%s in %s: %w", product.Attributes.UsageType, product.Attributes.RegionCode, err)
		}
		if len(tiers) == 0 {
			continue // priced in another currency
		}
		for _, architecture := range architectures(item, isARM) {
			k := key{product.Attributes.RegionCode, architecture}
			if all[k] == nil {
				all[k] = &Rates{Region: k.region, Architecture: architecture, Basis: OfferFile, Date: date, items: map[Item]float64{}}
			}
			switch {
			case item == "":
				all[k].Tiers = tiers
			case len(tiers) > 1:
				return nil, fmt.Errorf("%s in %s has tiers, which this program does not know of", product.Attributes.UsageType, k.region)
			default:
				all[k].items[item] = tiers[0].PerGBSecond
			}
		}
	}
	var out []*Rates
	for _, r := range all {
		if len(r.Tiers) == 0 {
			continue
		}
		if err := r.check(); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, errors.New("it has no duration price of any region in USD")
	}
	slices.SortFunc(out, func(a, b *Rates) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Architecture, b.Architecture))
	})
	return out, nil
}

// architectures returns those that a usage type prices. SnapStart is priced once
// for both; the others have one usage type for each.
func architectures(item Item, isARM bool) []string {
	switch {
	case isARM:
		return []string{arm}
	case item == SnapStartCache || item == SnapStartRestore:
		return []string{x86, arm}
	}
	return []string{x86}
}

// tiers returns the prices of a SKU, which have to follow one another from zero
// to infinity.
func (o *offer) tiers(sku string) ([]Tier, error) {
	terms := o.Terms.OnDemand[sku]
	if len(terms) != 1 {
		return nil, fmt.Errorf("it has %d on-demand terms, not one", len(terms))
	}
	type step struct {
		from float64
		Tier
	}
	var steps []step
	for _, term := range terms {
		for _, d := range term.PriceDimensions {
			usd, ok := d.PricePerUnit["USD"]
			if !ok {
				return nil, nil
			}
			var s step
			for _, number := range []struct {
				text string
				into *float64
			}{{d.BeginRange, &s.from}, {strings.Replace(d.EndRange, "Inf", "+Inf", 1), &s.UpTo}, {usd, &s.PerGBSecond}} {
				v, err := strconv.ParseFloat(number.text, 64)
				if err != nil || math.IsNaN(v) {
					return nil, fmt.Errorf("%q is not a number", number.text)
				}
				*number.into = v
			}
			steps = append(steps, s)
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.from, b.from) })
	var out []Tier
	from := 0.0
	for _, s := range steps {
		if s.from != from {
			return nil, fmt.Errorf("no price from %g to %g", from, s.from)
		}
		out = append(out, s.Tier)
		from = s.UpTo
	}
	if !math.IsInf(from, 1) {
		return nil, fmt.Errorf("no price beyond %g", from)
	}
	return out, nil
}
