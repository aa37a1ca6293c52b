// Package collect asks AWS for the data of package account: the function list,
// concurrency settings and event sources from Lambda, metrics from CloudWatch.
//
// It only reads. What the caller's role does not permit is left out and named
// in [account.Account.Refused], so that a role with ListFunctions alone is
// enough to begin with:
//
//	lambda:ListFunctions, lambda:GetAccountSettings, lambda:ListEventSourceMappings,
//	lambda:GetFunctionConcurrency, lambda:ListProvisionedConcurrencyConfigs,
//	lambda:ListTags, cloudwatch:GetMetricData
package collect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/thaw-lambda/thaw/internal/account"
)

// Options say what to collect.
type Options struct {
	// Start and End are the range of the metrics; they are widened to hours.
	Start, End time.Time
	// Functions are the names to collect; none is all.
	Functions []string
	// Details asks for what needs calls for each function: reserved and
	// provisioned concurrency, and tags. AWS permits about 15 a second.
	Details bool
	// Progress is told how many of the functions are done; it may be nil.
	Progress func(done, all int)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Collect asks the region of cfg.
func Collect(ctx context.Context, cfg aws.Config, o Options) (*account.Account, error) {
	return collect(ctx, cfg, awsLambda, o)
}

func collect(ctx context.Context, cfg aws.Config, namespace string, o Options) (*account.Account, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	c := &collector{
		lambda:    lambda.NewFromConfig(cfg),
		metrics:   cloudwatch.NewFromConfig(cfg),
		namespace: namespace,
		options:   o,
		out: &account.Account{
			Version:     account.Version,
			CollectedAt: o.Now().UTC().Truncate(time.Second),
			Start:       o.Start.UTC().Truncate(time.Hour),
			End:         ceilHour(o.End.UTC()),
			Region:      cfg.Region,
			Functions:   []account.Function{},
			Refused:     []string{},
		},
	}
	if err := c.functions(ctx); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{c.limits, c.sources, c.details, c.collectMetrics} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return c.out, nil
}

func ceilHour(t time.Time) time.Time {
	if down := t.Truncate(time.Hour); !down.Equal(t) {
		return down.Add(time.Hour)
	}
	return t
}

type collector struct {
	lambda    *lambda.Client
	metrics   *cloudwatch.Client
	namespace string
	options   Options
	out       *account.Account
	arns      []string // of out.Functions
}

// functions lists what there is. Without that there is nothing to say.
func (c *collector) functions(ctx context.Context) error {
	pages := lambda.NewListFunctionsPaginator(c.lambda, &lambda.ListFunctionsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list the functions of %s: %w", c.out.Region, err)
		}
		for i := range page.Functions {
			if f := &page.Functions[i]; c.wanted(aws.ToString(f.FunctionName)) {
				c.add(f)
			}
		}
	}
	for _, name := range c.options.Functions {
		if c.out.Find(name) == nil {
			c.out.Refused = append(c.out.Refused, fmt.Sprintf("there is no function %s in %s", name, c.out.Region))
		}
	}
	return nil
}

func (c *collector) wanted(name string) bool {
	return len(c.options.Functions) == 0 || slices.Contains(c.options.Functions, name)
}

func (c *collector) add(f *types.FunctionConfiguration) {
	out := account.Function{
		Name:           aws.ToString(f.FunctionName),
		Runtime:        string(f.Runtime),
		Architecture:   "x86_64", // what Lambda means where it says nothing
		PackageType:    string(f.PackageType),
		Handler:        aws.ToString(f.Handler),
		MemoryMB:       int64(aws.ToInt32(f.MemorySize)),
		TimeoutSeconds: int64(aws.ToInt32(f.Timeout)),
		CodeBytes:      f.CodeSize,
		Layers:         []account.Layer{},
		Provisioned:    []account.Provisioned{},
		Sources:        []account.EventSource{},
		FileSystem:     len(f.FileSystemConfigs) > 0,
		VPC:            f.VpcConfig != nil && len(f.VpcConfig.SubnetIds) > 0,
		SnapStart:      f.SnapStart != nil && f.SnapStart.ApplyOn == types.SnapStartApplyOnPublishedVersions,
		LastModified:   aws.ToString(f.LastModified),
	}
	if len(f.Architectures) > 0 {
		out.Architecture = string(f.Architectures[0])
	}
	if f.EphemeralStorage != nil {
		out.EphemeralStorageMB = int64(aws.ToInt32(f.EphemeralStorage.Size))
	}
	for _, l := range f.Layers {
		out.Layers = append(out.Layers, account.Layer{ARN: aws.ToString(l.Arn), Bytes: l.CodeSize})
	}
	name := aws.ToString(f.FunctionArn)
	if parsed, err := arn.Parse(name); err == nil {
		c.out.AccountID = parsed.AccountID
	}
	c.out.Functions = append(c.out.Functions, out)
	c.arns = append(c.arns, name)
}

// may lets go on where AWS did not permit or does not offer something, and
// says so in the data. What is transient has been tried again by the SDK.
func (c *collector) may(what string, err error) error {
	var answered *smithyhttp.ResponseError
	if err == nil || !errors.As(err, &answered) {
		return err
	}
	reason := fmt.Sprintf("status %d", answered.HTTPStatusCode())
	if refused := smithy.APIError(nil); errors.As(err, &refused) {
		reason = refused.ErrorCode()
	}
	text := fmt.Sprintf("%s: %s", what, reason)
	if !slices.Contains(c.out.Refused, text) {
		c.out.Refused = append(c.out.Refused, text)
	}
	return nil
}

func (c *collector) limits(ctx context.Context) error {
	settings, err := c.lambda.GetAccountSettings(ctx, &lambda.GetAccountSettingsInput{})
	if err != nil {
		return c.may("the account's limits (lambda:GetAccountSettings)", err)
	}
	if l := settings.AccountLimit; l != nil {
		c.out.Limits = &account.Limits{
			ConcurrentExecutions:           int64(l.ConcurrentExecutions),
			UnreservedConcurrentExecutions: int64(aws.ToInt32(l.UnreservedConcurrentExecutions)),
		}
	}
	return nil
}

// sources adds the event source mappings to their functions.
func (c *collector) sources(ctx context.Context) error {
	pages := lambda.NewListEventSourceMappingsPaginator(c.lambda, &lambda.ListEventSourceMappingsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return c.may("event sources (lambda:ListEventSourceMappings)", err)
		}
		for _, m := range page.EventSourceMappings {
			f := c.out.Find(functionName(aws.ToString(m.FunctionArn)))
			if f == nil {
				continue
			}
			source := account.EventSource{
				ARN:           aws.ToString(m.EventSourceArn),
				State:         aws.ToString(m.State),
				BatchSize:     int64(aws.ToInt32(m.BatchSize)),
				WindowSeconds: int64(aws.ToInt32(m.MaximumBatchingWindowInSeconds)),
			}
			if m.ScalingConfig != nil && m.ScalingConfig.MaximumConcurrency != nil {
				source.MaxConcurrency = aws.Int64(int64(*m.ScalingConfig.MaximumConcurrency))
			}
			f.Sources = append(f.Sources, source)
		}
	}
	return nil
}

// functionName returns the name in a function's ARN, which may be qualified.
func functionName(functionARN string) string {
	fields := strings.Split(functionARN, ":")
	if len(fields) < 7 {
		return ""
	}
	return fields[6]
}

// details asks for each function by itself.
func (c *collector) details(ctx context.Context) error {
	if !c.options.Details {
		return nil
	}
	for i := range c.out.Functions {
		c.options.Progress(i, len(c.out.Functions))
		f := &c.out.Functions[i]
		for _, step := range []func(context.Context, *account.Function, string) error{c.reserved, c.provisioned, c.tags} {
			if err := step(ctx, f, c.arns[i]); err != nil {
				return fmt.Errorf("details of %s: %w", f.Name, err)
			}
		}
	}
	c.options.Progress(len(c.out.Functions), len(c.out.Functions))
	return nil
}

func (c *collector) reserved(ctx context.Context, f *account.Function, _ string) error {
	got, err := c.lambda.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: &f.Name})
	if err != nil {
		return c.may("reserved concurrency (lambda:GetFunctionConcurrency)", err)
	}
	if got.ReservedConcurrentExecutions == nil {
		f.Unreserved = true
		return nil
	}
	f.ReservedConcurrency = aws.Int64(int64(*got.ReservedConcurrentExecutions))
	return nil
}

func (c *collector) provisioned(ctx context.Context, f *account.Function, _ string) error {
	pages := lambda.NewListProvisionedConcurrencyConfigsPaginator(c.lambda, &lambda.ListProvisionedConcurrencyConfigsInput{FunctionName: &f.Name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return c.may("provisioned concurrency (lambda:ListProvisionedConcurrencyConfigs)", err)
		}
		for _, p := range page.ProvisionedConcurrencyConfigs {
			fields := strings.Split(aws.ToString(p.FunctionArn), ":")
			f.Provisioned = append(f.Provisioned, account.Provisioned{
				Qualifier:   fields[len(fields)-1],
				Requested:   int64(aws.ToInt32(p.RequestedProvisionedConcurrentExecutions)),
				Available:   int64(aws.ToInt32(p.AvailableProvisionedConcurrentExecutions)),
				Utilization: []float64{},
			})
		}
	}
	return nil
}

func (c *collector) tags(ctx context.Context, f *account.Function, functionARN string) error {
	got, err := c.lambda.ListTags(ctx, &lambda.ListTagsInput{Resource: &functionARN})
	if err != nil {
		return c.may("tags (lambda:ListTags)", err)
	}
	f.Tags = got.Tags
	return nil
}
