package collect

import (
	"archive/zip"
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/thaw-lambda/thaw/internal/account"
	"github.com/thaw-lambda/thaw/internal/mototest"
)

// world is an account on a local server of AWS's APIs.
type world struct {
	t      *testing.T
	cfg    aws.Config
	lambda *lambda.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	endpoint := mototest.Start(t)
	cfg := aws.Config{
		Region:       mototest.Region,
		BaseEndpoint: &endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider(mototest.AccessKeyID, mototest.SecretAccessKey, ""),
	}
	w := &world{t, cfg, lambda.NewFromConfig(cfg)}
	w.role(endpoint)
	return w
}

const roleARN = "arn:aws:iam::123456789012:role/function"

// role makes the role that Lambda wants to see. One call is not worth a client.
func (w *world) role(endpoint string) {
	w.t.Helper()
	form := url.Values{"Action": {"CreateRole"}, "Version": {"2010-05-08"}, "RoleName": {"function"}, "AssumeRolePolicyDocument": {"{}"}}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("create a role: %s", res.Status)
	}
}

func (w *world) create(in *lambda.CreateFunctionInput) {
	w.t.Helper()
	var code bytes.Buffer
	z := zip.NewWriter(&code)
	if _, err := z.Create("index.js"); err != nil {
		w.t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		w.t.Fatal(err)
	}
	in.Role, in.Handler, in.Code = aws.String(roleARN), aws.String("index.handler"), &types.FunctionCode{ZipFile: code.Bytes()}
	if _, err := w.lambda.CreateFunction(w.t.Context(), in); err != nil {
		w.t.Fatal(err)
	}
}

// custom stands for AWS/Lambda, into which nobody but AWS may write.
const custom = "Thaw/Lambda"

func (w *world) put(function, metric string, values map[time.Time]float64) {
	w.t.Helper()
	client := cloudwatch.NewFromConfig(w.cfg)
	for at, v := range values {
		_, err := client.PutMetricData(w.t.Context(), &cloudwatch.PutMetricDataInput{
			Namespace: aws.String(custom),
			MetricData: []cwtypes.MetricDatum{{
				MetricName: &metric, Timestamp: &at, Value: &v,
				Dimensions: []cwtypes.Dimension{{Name: aws.String("FunctionName"), Value: &function}},
			}},
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestCollect(t *testing.T) {
	w := newWorld(t)
	w.create(&lambda.CreateFunctionInput{
		FunctionName: aws.String("checkout"), Runtime: types.RuntimeNodejs22x, MemorySize: aws.Int32(1024), Timeout: aws.Int32(7),
		Architectures: []types.Architecture{types.ArchitectureArm64}, Tags: map[string]string{"team": "shop"},
	})
	w.create(&lambda.CreateFunctionInput{FunctionName: aws.String("batch"), Runtime: types.RuntimePython313})
	if _, err := w.lambda.PutFunctionConcurrency(t.Context(), &lambda.PutFunctionConcurrencyInput{
		FunctionName: aws.String("batch"), ReservedConcurrentExecutions: aws.Int32(3),
	}); err != nil {
		t.Fatal(err)
	}
	hour := time.Now().UTC().Truncate(time.Hour).Add(-5 * time.Hour)
	w.put("batch", "Throttles", map[time.Time]float64{hour.Add(time.Minute): 4, hour.Add(2 * time.Minute): 1, hour.Add(time.Hour): 2})
	w.put("batch", "ConcurrentExecutions", map[time.Time]float64{hour.Add(time.Minute): 3, hour.Add(time.Hour): 2})

	got, err := collect(t.Context(), w.cfg, custom, Options{Start: hour, End: time.Now(), Details: true})
	if err != nil {
		t.Fatal(err)
	}
	if got.AccountID != "123456789012" || got.Region != mototest.Region || len(got.Functions) != 2 {
		t.Fatalf("account %+v", got)
	}
	checkout, batch := got.Find("checkout"), got.Find("batch")
	if checkout.MemoryMB != 1024 || checkout.TimeoutSeconds != 7 || checkout.Architecture != "arm64" ||
		checkout.Runtime != "nodejs22.x" || checkout.Tags["team"] != "shop" || !checkout.Unreserved || checkout.Metrics.Throttles != nil {
		t.Errorf("checkout: %+v", checkout)
	}
	if batch.ReservedConcurrency == nil || *batch.ReservedConcurrency != 3 || batch.Architecture != "x86_64" {
		t.Errorf("batch: %+v", batch)
	}
	m := batch.Metrics
	if m.Throttles == nil || *m.Throttles != 7 || m.ThrottledHours != 2 {
		t.Errorf("throttles: %v in %d hours, want 7 in 2", m.Throttles, m.ThrottledHours)
	}
	if m.ConcurrentExecutionsMax == nil || *m.ConcurrentExecutionsMax != 3 || len(m.ConcurrentExecutions) != 2 {
		t.Errorf("concurrent executions: %v, %v", m.ConcurrentExecutionsMax, m.ConcurrentExecutions)
	}
	var file bytes.Buffer
	if err := got.Write(&file); err != nil {
		t.Fatal(err)
	}
	if back, err := account.Read(&file); err != nil || len(back.Functions) != 2 {
		t.Errorf("read back: %v, %+v", err, back)
	}
}

func TestCollectNamesWhatIsNotThere(t *testing.T) {
	w := newWorld(t)
	w.create(&lambda.CreateFunctionInput{FunctionName: aws.String("one"), Runtime: types.RuntimePython313})
	got, err := Collect(t.Context(), w.cfg, Options{Start: time.Now().Add(-time.Hour), End: time.Now(), Functions: []string{"one", "two"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Functions) != 1 || !strings.Contains(strings.Join(got.Refused, "\n"), "no function two") {
		t.Errorf("functions %+v, refused %q", got.Functions, got.Refused)
	}
	if got.Functions[0].Unreserved || got.Functions[0].ReservedConcurrency != nil {
		t.Error("reserved concurrency is told though nobody asked")
	}
}

func TestCollectWithoutAServer(t *testing.T) {
	endpoint := "http://127.0.0.1:1"
	cfg := aws.Config{Region: "eu-west-1", BaseEndpoint: &endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("a", "not-to-be-told", "")}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := Collect(ctx, cfg, Options{})
	if err == nil || !strings.Contains(err.Error(), "list the functions of eu-west-1") || strings.Contains(err.Error(), "not-to-be-told") {
		t.Errorf("error %v", err)
	}
}
