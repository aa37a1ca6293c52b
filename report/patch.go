package report

import (
	"fmt"
	"strings"
)

// Tools of patches.
const (
	toolSAM       = "sam"
	toolCDK       = "cdk"
	toolTerraform = "terraform"
	toolCLI       = "cli"
)

func toolName(tool string) string {
	return map[string]string{toolSAM: "SAM", toolCDK: "CDK", toolTerraform: "Terraform", toolCLI: "AWS CLI"}[tool]
}

// setting is one setting of a function in the words of each tool. What a tool
// does not have is empty.
type setting struct{ sam, cdk, terraform, cli string }

// patches puts a setting into its place.
func (s setting) patches(f *Function) []Patch {
	var out []Patch
	add := func(tool, format string, args ...any) { out = append(out, Patch{tool, fmt.Sprintf(format, args...)}) }
	if s.sam != "" {
		add(toolSAM, "# AWS::Serverless::Function %s\nProperties:\n%s", f.Name, indent(s.sam))
	}
	if s.cdk != "" {
		add(toolCDK, "new lambda.Function(this, %q, {\n  // ...\n%s\n});", f.Name, indent(s.cdk))
	}
	if s.terraform != "" {
		add(toolTerraform, "resource \"aws_lambda_function\" %q {\n  # ...\n%s\n}", f.Name, indent(s.terraform))
	}
	if s.cli != "" {
		add(toolCLI, "%s", s.cli)
	}
	return out
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }

// shell quotes a word for a shell. Names of functions need none; what else
// comes from outside might.
func shell(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// configure is the AWS CLI's command that changes the configuration.
func configure(f *Function, flags string) string {
	return fmt.Sprintf("aws lambda update-function-configuration --region %s --function-name %s %s", shell(f.Region), shell(f.Name), flags)
}

func memoryPatches(f *Function, memoryMB int64) []Patch {
	return setting{
		sam:       fmt.Sprintf("MemorySize: %d", memoryMB),
		cdk:       fmt.Sprintf("memorySize: %d,", memoryMB),
		terraform: fmt.Sprintf("memory_size = %d", memoryMB),
		cli:       configure(f, fmt.Sprintf("--memory-size %d", memoryMB)),
	}.patches(f)
}

func timeoutPatches(f *Function, seconds int64) []Patch {
	return setting{
		sam:       fmt.Sprintf("Timeout: %d", seconds),
		cdk:       fmt.Sprintf("timeout: cdk.Duration.seconds(%d),", seconds),
		terraform: fmt.Sprintf("timeout = %d", seconds),
		cli:       configure(f, fmt.Sprintf("--timeout %d", seconds)),
	}.patches(f)
}

func arm64Patches(f *Function) []Patch {
	return setting{
		sam:       "Architectures: [arm64]",
		cdk:       "architecture: lambda.Architecture.ARM_64,",
		terraform: `architectures = ["arm64"]`,
		cli:       fmt.Sprintf("aws lambda update-function-code --region %s --function-name %s --architectures arm64 --zip-file fileb://function-arm64.zip", shell(f.Region), shell(f.Name)),
	}.patches(f)
}

func snapStartPatches(f *Function) []Patch {
	return setting{
		sam:       "SnapStart:\n  ApplyOn: PublishedVersions\nAutoPublishAlias: live",
		cdk:       "snapStart: lambda.SnapStartConf.ON_PUBLISHED_VERSIONS,",
		terraform: "publish = true\nsnap_start {\n  apply_on = \"PublishedVersions\"\n}",
		cli:       configure(f, "--snap-start ApplyOn=PublishedVersions"),
	}.patches(f)
}

func storagePatches(f *Function, mb int64) []Patch {
	return setting{
		sam:       fmt.Sprintf("EphemeralStorage:\n  Size: %d", mb),
		cdk:       fmt.Sprintf("ephemeralStorageSize: cdk.Size.mebibytes(%d),", mb),
		terraform: fmt.Sprintf("ephemeral_storage {\n  size = %d\n}", mb),
		cli:       configure(f, fmt.Sprintf("--ephemeral-storage Size=%d", mb)),
	}.patches(f)
}

func reservedPatches(f *Function, n int64) []Patch {
	return setting{
		sam:       fmt.Sprintf("ReservedConcurrentExecutions: %d", n),
		cdk:       fmt.Sprintf("reservedConcurrentExecutions: %d,", n),
		terraform: fmt.Sprintf("reserved_concurrent_executions = %d", n),
		cli:       fmt.Sprintf("aws lambda put-function-concurrency --region %s --function-name %s --reserved-concurrent-executions %d", shell(f.Region), shell(f.Name), n),
	}.patches(f)
}

// provisionedPatches sets provisioned concurrency on an alias: it cannot be on
// $LATEST.
func provisionedPatches(f *Function, alias string, n int64) []Patch {
	out := setting{
		sam: fmt.Sprintf("AutoPublishAlias: %s\nProvisionedConcurrencyConfig:\n  ProvisionedConcurrentExecutions: %d", alias, n),
		cli: fmt.Sprintf("aws lambda put-provisioned-concurrency-config --region %s --function-name %s --qualifier %s --provisioned-concurrent-executions %d",
			shell(f.Region), shell(f.Name), shell(alias), n),
	}.patches(f)
	return append(out,
		Patch{toolCDK, fmt.Sprintf("new lambda.Alias(this, %q, {\n  aliasName: %q,\n  version: fn.currentVersion,\n  provisionedConcurrentExecutions: %d,\n});", f.Name+"-"+alias, alias, n)},
		Patch{toolTerraform, fmt.Sprintf("resource \"aws_lambda_provisioned_concurrency_config\" %q {\n  function_name                     = %q\n  qualifier                         = %q\n  provisioned_concurrent_executions = %d\n}", f.Name, f.Name, alias, n)})
}

// environmentPatches sets an environment variable.
func environmentPatches(f *Function, name, value string) []Patch {
	return setting{
		sam:       fmt.Sprintf("Environment:\n  Variables:\n    %s: %q", name, value),
		cdk:       fmt.Sprintf("environment: { %s: %q },", name, value),
		terraform: fmt.Sprintf("environment {\n  variables = {\n    %s = %q\n  }\n}", name, value),
		cli:       "# This replaces all variables: add those that the function has.\n" + configure(f, fmt.Sprintf("--environment 'Variables={%s=%s}'", name, value)),
	}.patches(f)
}
