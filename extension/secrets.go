package extension

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	// secretLife is how long a secret is not read again, whatever the endpoint
	// says: a key that is wrong must not become a request to AWS for each export.
	secretLife = 5 * time.Minute
	// maxSecret bounds what is read of an answer: secrets have at most 64 KiB.
	maxSecret = 128 << 10
)

// secrets reads the values of headers from AWS. It belongs to the attempt that
// is under way. The values are in memory and in requests, never in the log.
type secrets struct {
	headers []secretHeader
	http    *http.Client
	env     func(string) string

	values map[string]string
	read   time.Time
}

// add adds the headers to a request. They are read from AWS before the first.
func (s *secrets) add(ctx context.Context, header http.Header) error {
	if s == nil {
		return nil
	}
	if s.values == nil {
		values := map[string]string{}
		for _, h := range s.headers {
			value, err := s.value(ctx, h)
			if err != nil {
				return fmt.Errorf("header %s: read %s of %s: %w", h.name, kindOf(h.service), h.region, err)
			}
			values[h.name] = h.prefix + value
		}
		s.values, s.read = values, time.Now()
	}
	for name, value := range s.values {
		header.Set(name, value)
	}
	return nil
}

// expire forgets the values if they may have been replaced since they were
// read. It says whether it did.
func (s *secrets) expire() bool {
	if s == nil || s.values == nil || time.Since(s.read) < secretLife {
		return false
	}
	s.values = nil
	return true
}

func kindOf(service string) string {
	if service == "ssm" {
		return "a parameter"
	}
	return "a secret"
}

// value reads one value.
func (s *secrets) value(ctx context.Context, h secretHeader) (string, error) {
	target, in := "secretsmanager.GetSecretValue", any(map[string]string{"SecretId": h.arn})
	if h.service == "ssm" {
		target, in = "AmazonSSM.GetParameter", map[string]any{"Name": h.arn, "WithDecryption": true}
	}
	var out struct {
		SecretString string
		Parameter    struct{ Value string }
	}
	if err := s.call(ctx, h, target, in, &out); err != nil {
		return "", err
	}
	value := out.SecretString + out.Parameter.Value
	if h.key != "" {
		var object map[string]any
		if json.Unmarshal([]byte(value), &object) != nil {
			return "", errors.New("it is no JSON object, and the setting names a key")
		}
		text, ok := object[h.key].(string)
		if !ok {
			return "", errors.New("it has no such key, or its value is no string")
		}
		value = text
	}
	value = strings.TrimSpace(value)
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return "", errors.New("it is empty, or no value for a header")
	}
	return value, nil
}

// call makes one signed request in AWS's JSON protocol.
func (s *secrets) call(ctx context.Context, h secretHeader, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint(h), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make the request: %w", withoutURL(err))
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", target)
	credentials, err := s.credentials(ctx)
	if err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), h.service, h.region, time.Now()); err != nil {
		return fmt.Errorf("sign the request: %w", err)
	}
	return s.do(req, out)
}

func (s *secrets) do(req *http.Request, out any) error {
	res, err := s.http.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxSecret))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		var failure struct {
			Type string `json:"__type"`
		}
		_ = json.Unmarshal(answer, &failure) // what is not JSON is not worth a line in the log
		return fmt.Errorf("status %d %s", res.StatusCode, token(failure.Type))
	}
	if json.Unmarshal(answer, out) != nil {
		return errors.New("the answer cannot be read") // the error would quote it
	}
	return nil
}

// token keeps of a text what a name of an error consists of.
func token(s string) string {
	_, name, ok := strings.Cut(s, "#")
	if !ok {
		name = s
	}
	return strings.Map(func(r rune) rune {
		if r < '!' || r > '~' {
			return -1
		}
		return r
	}, name[:min(len(name), 64)])
}

// endpoint returns the URL of the service. The variables are those of the SDKs.
func (s *secrets) endpoint(h secretHeader) string {
	name, variable := "secretsmanager", "AWS_ENDPOINT_URL_SECRETS_MANAGER"
	if h.service == "ssm" {
		name, variable = "ssm", "AWS_ENDPOINT_URL_SSM"
	}
	for _, v := range []string{variable, "AWS_ENDPOINT_URL"} {
		if u := s.env(v); u != "" {
			return strings.TrimSuffix(u, "/") + "/"
		}
	}
	suffix := "amazonaws.com"
	if h.partition == "aws-cn" {
		suffix = "amazonaws.com.cn"
	}
	return "https://" + name + "." + h.region + "." + suffix + "/"
}

// credentials are the function's: from the environment, or with SnapStart from
// where that points to.
func (s *secrets) credentials(ctx context.Context) (aws.Credentials, error) {
	c := aws.Credentials{AccessKeyID: s.env("AWS_ACCESS_KEY_ID"), SecretAccessKey: s.env("AWS_SECRET_ACCESS_KEY"), SessionToken: s.env("AWS_SESSION_TOKEN")}
	uri := s.env("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if c.AccessKeyID != "" || uri == "" {
		if c.AccessKeyID == "" {
			return c, errors.New("there are none in the environment")
		}
		return c, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return c, withoutURL(err)
	}
	if t := s.env("AWS_CONTAINER_AUTHORIZATION_TOKEN"); t != "" {
		req.Header.Set("Authorization", t)
	}
	var got struct{ AccessKeyID, SecretAccessKey, Token string }
	if err := s.do(req, &got); err != nil {
		return c, err
	}
	return aws.Credentials{AccessKeyID: got.AccessKeyID, SecretAccessKey: got.SecretAccessKey, SessionToken: got.Token}, nil
}
