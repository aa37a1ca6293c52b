# The smallest honest Lambda runtime client for Ruby.
#
# It does what AWS's aws_lambda_ric does for an ordinary function: load the
# handler, then next, call, response or error, for ever. Left out: log framing,
# X-Ray causes, SnapStart hooks. The handler is in _HANDLER, as "file.method" or
# "file.Class.method".

require "json"
require "net/http"

API = "/2018-06-01/runtime".freeze

# What handlers get as context:.
Context = Struct.new(:aws_request_id, :invoked_function_arn, :deadline_ms) do
  def function_name = ENV["AWS_LAMBDA_FUNCTION_NAME"]
  def function_version = ENV["AWS_LAMBDA_FUNCTION_VERSION"]
  def memory_limit_in_mb = ENV["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"].to_i
  def log_group_name = ENV["AWS_LAMBDA_LOG_GROUP_NAME"]
  def log_stream_name = ENV["AWS_LAMBDA_LOG_STREAM_NAME"]
  def get_remaining_time_in_millis = [0, deadline_ms - (Time.now.to_f * 1000).to_i].max
end

def post(connection, path, body, headers = {})
  response = connection.post(API + path, body, { "Content-Type" => "application/json" }.merge(headers))
  raise "POST #{path}: #{response.code} #{response.body}" unless response.code.start_with?("2")
end

def post_error(connection, path, error, kind)
  body = { errorMessage: error.message, errorType: kind, stackTrace: error.backtrace || [] }
  post(connection, path, JSON.generate(body), "Lambda-Runtime-Function-Error-Type" => kind)
end

def load_handler
  file, *owner, name = ENV.fetch("_HANDLER").split(".")
  require File.join(ENV["LAMBDA_TASK_ROOT"] || Dir.pwd, file)
  owner.empty? ? method(name) : Object.const_get(owner.join("::")).method(name)
end

def serve_one(connection, handler)
  response = connection.get("#{API}/invocation/next")
  ENV["_X_AMZN_TRACE_ID"] = response["Lambda-Runtime-Trace-Id"]
  id = response["Lambda-Runtime-Aws-Request-Id"]
  context = Context.new(id, response["Lambda-Runtime-Invoked-Function-Arn"], response["Lambda-Runtime-Deadline-Ms"].to_i)
  begin
    result = JSON.generate(handler.call(event: JSON.parse(response.body), context: context))
  rescue StandardError, LoadError => e
    warn e.full_message(highlight: false)
    post_error(connection, "/invocation/#{id}/error", e, "Function<#{e.class}>")
  else
    post(connection, "/invocation/#{id}/response", result)
  end
end

# Lines must leave before the process is frozen, not when a buffer is full.
$stdout.sync = true
host, port = ENV.fetch("AWS_LAMBDA_RUNTIME_API").split(":")
# No timeout: the environment is frozen while it waits, perhaps for hours.
Net::HTTP.start(host, (port || 80).to_i, read_timeout: nil, keep_alive_timeout: 2**31) do |connection|
  begin
    handler = load_handler
  rescue StandardError, ScriptError => e
    warn e.full_message(highlight: false)
    post_error(connection, "/init/error", e, "Init<#{e.class}>")
    exit 1
  end
  loop { serve_one(connection, handler) }
end
