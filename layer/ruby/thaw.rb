# Writes down which file Ruby loaded when, by whose request, and for how long, as
# layer/HOOKS.md describes. RUBYOPT=-r/opt/thaw/ruby/thaw loads it before anything
# of the function.
#
# Kernel#require, require_relative and load are replaced until the first
# invocation is over; autoload goes through require. Only the main thread is
# recorded. For Ruby 2.7 and later.

module ThawInitProfile
  MAX_RECORDS = 4096
  MAX_BYTES = 512 << 10
  MAX_TEXT = 256
  MAX_PACKAGES = 256
  PATIENCE_US = 100_000
  METHODS = %i[require require_relative load].freeze

  Record = Struct.new(:id, :parent, :started, :ended, :name, :flags, :inner, :path, :told, :failed, :outcome)

  # What replaces the methods. Ruby does not blame files that are called internal
  # when it warns, as it does not blame RubyGems' own require.
  REPLACEMENTS = <<~'RUBY'.freeze
    def require(name)
      record = ThawInitProfile.begin(name) or return thaw_require(name)
      begin
        record.outcome = thaw_require(name)
      ensure
        ThawInitProfile.end(record)
      end
    end

    def require_relative(name)
      at = caller_locations(1, 1).first
      base = at.absolute_path || at.path
      raise LoadError, "cannot infer basepath" if base.start_with?("(eval")
      name = File.expand_path(name, File.dirname(base))
      record = ThawInitProfile.begin(name) or return thaw_load_path(name)
      begin
        record.outcome = thaw_load_path(name)
      ensure
        ThawInitProfile.end(record)
      end
    end

    def load(name, wrap = false)
      record = ThawInitProfile.begin(name) or return thaw_load(name, wrap)
      begin
        record.outcome = thaw_load(name, wrap)
      ensure
        ThawInitProfile.end(record)
      end
    end
  RUBY

  class << self
    def start(began)
      @origin = began
      @origin_unix = Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond) - (now - began)
      @main = Thread.current
      @pid = Process.pid
      @off = false
      @written = @flushed = @cost = @count = 0
      @pending = []
      @marks = []
      @totals = {}
      @packages = {}
      @root = ENV["LAMBDA_TASK_ROOT"] || "/var/task"
      @handler = ENV["_HANDLER"].to_s[/\A[^.]+/]
      @install = quietly { [Kernel, Kernel.singleton_class].map { |kernel| install(kernel) } }
      at_exit { stop }
      @cost = now - began
    end

    # Begins a record, or returns nil: then nothing is to be recorded.
    def begin(name)
      return if @off || !Thread.current.equal?(@main)
      entered = now
      record = Record.new(0, @current, entered, 0, name.to_s, "", 0, nil, false, true, nil)
      record.flags = "l" if @loaded && late?
      return if @off
      if @count < MAX_RECORDS && @written < MAX_BYTES
        record.id = @count += 1
        @pending << record
      end
      mark("handler_begin", entered) if record.flags.empty? && handler?(record)
      @current = record
      early(record)
      record.started = now
      @cost += record.started - entered
      record
    rescue StandardError
      give_up
    end

    def end(record)
      record.ended = ended = now
      @current = parent = record.parent
      return if @off
      record.failed = record.outcome.nil?
      return forget(record) if record.outcome == false
      record.flags = "e#{record.flags}" if record.failed
      record.path ||= record.failed ? resolve(record.name) : path(record)
      took = ended - record.started
      parent.inner += took if parent
      sum(record) if record.id.zero?
      if !@loaded && handler?(record)
        handler_loaded(ended)
      elsif parent.nil? && record.flags.end_with?("l")
        flush
      end
      @cost += now - ended
    rescue StandardError
      give_up
    end

    private

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC, :microsecond)
    end

    def quietly
      verbose, $VERBOSE = $VERBOSE, nil
      yield
    ensure
      $VERBOSE = verbose
    end

    def install(kernel)
      load_path = kernel.private_method_defined?(:gem_original_require) ? :gem_original_require : :require
      kernel.alias_method :thaw_load_path, load_path # Ruby's own, which RubyGems keeps
      METHODS.each { |name| kernel.alias_method "thaw_#{name}", name }
      kernel.module_eval(REPLACEMENTS, "<internal:#{__FILE__}>")
      private_names = METHODS + %i[thaw_load_path] + METHODS.map { |name| :"thaw_#{name}" }
      kernel.send(:private, *private_names) if kernel.equal?(Kernel)
      [kernel, METHODS.to_h { |name| [name, kernel.instance_method(name)] }]
    end

    # Whether the first invocation has begun. Stops when the second has.
    def late?
      trace = ENV["_X_AMZN_TRACE_ID"] or return false
      @trace ||= trace
      stop if trace != @trace
      true
    end

    def handler?(record)
      !@loaded && !@handler.nil? && (record.name == @handler || record.name.end_with?("/#{@handler}"))
    end

    # An init that hangs or is killed still says where it was.
    def early(record)
      package = package(record)
      return if record.id.zero? || @packages[package] && now - @flushed < PATIENCE_US
      @packages[package] = true
      flush
    end

    # A package is what the name begins with. A path is one of its own in the
    # function's code, and belongs to its folder elsewhere.
    def package(record)
      name = record.name
      return name[/\A[^\/]+/] || "" unless name.start_with?("/")
      name.start_with?(@root) && !name.include?("/gems/") ? name : File.dirname(name)
    end

    # It had been loaded before. (If it is in the file as open, it gets its end.)
    def forget(record)
      @pending.delete_if { |other| other.equal?(record) } unless record.told
    end

    def path(record)
      feature = $LOADED_FEATURES.last.to_s
      stem = record.name.delete_suffix(".rb").delete_suffix(".so")
      feature.delete_suffix(".rb").delete_suffix(".so").end_with?(stem.delete_prefix("./")) ? feature : resolve(record.name)
    end

    def resolve(name)
      _, found = $LOAD_PATH.resolve_feature_path(name)
      found.is_a?(String) ? found : (File.file?(name) ? File.expand_path(name) : "")
    rescue StandardError, LoadError
      ""
    end

    def sum(record)
      package = package(record)
      package = "other" if !@totals.key?(package) && @totals.size >= MAX_PACKAGES
      total = @totals[package] ||= [0, 0]
      total[0] += 1
      total[1] += record.ended - record.started - record.inner
    end

    def handler_loaded(ended)
      @loaded = true
      mark("handler_end", ended)
      flush(true)
    end

    def stop
      return if @off
      flush(true) if @pid == Process.pid
      give_up
    rescue StandardError
      give_up
    end

    # Takes everything back, and closes the file as it is. Returns nil.
    def give_up
      @off = true
      @io&.close
      quietly do
        @install&.each do |kernel, ours|
          METHODS.each do |name|
            next unless kernel.instance_method(name) == ours[name] # somebody has replaced it again
            kernel.alias_method name, "thaw_#{name}"
            kernel.send(:private, name) if kernel.equal?(Kernel)
          end
        end
      end
      nil
    rescue StandardError
      nil
    end

    def mark(name, at)
      @marks << "m\t#{name}\t#{at - @origin}\n"
    end

    def flush(last = false)
      began = now
      open unless @io
      lines, @marks = @marks, []
      @pending = @pending.reject do |record|
        open = record.ended.zero?
        if open && record.told
          next false
        elsif @written > MAX_BYTES && !open
          sum(record)
          next true
        end
        record.told = true
        lines << line(record, open)
        !open
      end
      totals(lines) if last
      @flushed = now
      lines << "m\thook_us\t#{@cost + @flushed - began}\n"
      write(lines.join)
    end

    def line(record, open)
      # To search the load path for what is still being loaded would cost too much.
      path = record.path || (record.name.start_with?("/") ? resolve(record.name) : "")
      kind = path.end_with?(".so") ? "native" : "rb"
      ended = open ? 0 : record.ended - @origin
      flags = record.flags.empty? ? "-" : record.flags
      "r\t#{record.id}\t#{record.parent&.id || 0}\t#{kind}\t#{record.started - @origin}\t#{ended}\t0\t" \
        "#{flags}\t#{clean(record.name)}\t#{clean(path, true)}\n"
    end

    def totals(lines)
      return if @totals.empty?
      lines << "m\ttruncated\t1\n"
      @totals.each { |package, (count, own)| lines << "p\trb\t#{count}\t#{own}\t0\t#{clean(package)}\n" }
    end

    # Text as the wire has it: escaped, valid UTF-8, at most 256 bytes.
    def clean(text, keep_end = false)
      text = text.dup.force_encoding(Encoding::UTF_8).scrub("\uFFFD")
      return text if text.bytesize <= MAX_TEXT && !text.match?(/[\\\t\n\r]/)
      text = keep_end ? text[-MAX_TEXT..] || text : text[0, MAX_TEXT]
      loop do
        escaped = text.gsub(/[\\\t\n\r]/, "\\" => "\\\\", "\t" => "\\t", "\n" => "\\n", "\r" => "\\r")
        return escaped if escaped.bytesize <= MAX_TEXT
        text = keep_end ? text[1..] : text[0..-2]
      end
    end

    def open
      folder = ENV["THAW_PROFILE_DIR"] || "/tmp/.thaw"
      begin
        Dir.mkdir(folder, 0o700)
      rescue Errno::EEXIST
        stat = File.lstat(folder)
        raise unless stat.directory? && stat.uid == Process.euid
      end
      ticks = File.binread("/proc/self/stat")[/.*\)(.*)/m, 1].split[19].to_i
      flags = File::WRONLY | File::APPEND | File::CREAT | File::EXCL | File::NOFOLLOW
      @io = IO.for_fd(IO.sysopen("#{folder}/init-#{@pid}-#{ticks}.tsv", flags, 0o600), "a")
      write(header(ticks))
    end

    def header(ticks)
      # The kernel keeps the start in hundredths of a second: take the middle.
      # The process is at least as old as the CPU time it has used.
      begun = ticks * 10_000 + 5_000
      age = [Process.clock_gettime(7, :microsecond) - begun, Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID, :microsecond)].max
      "thaw-init\t1\truby\t#{RUBY_VERSION}\t#{@pid}\t#{@origin_unix}\n" \
        "m\thook\truby/1\nm\tprocess_start\t#{now - age - @origin}\nm\tbootstrap\t0\nm\ttask_root\t#{clean(@root)}\n"
    end

    def write(text)
      # A child after a fork has the file too, but it is not its own.
      return if @pid != Process.pid
      @written += text.bytesize
      raise IOError if @io.syswrite(text) != text.bytesize
    end
  end
end

thaw_began = Process.clock_gettime(Process::CLOCK_MONOTONIC, :microsecond)
begin
  # Children do not inherit it.
  thaw_rest = ENV["RUBYOPT"].to_s.split.reject { |option| option == "-r#{__FILE__.delete_suffix(".rb")}" }
  ENV["RUBYOPT"] = thaw_rest.empty? ? nil : thaw_rest.join(" ")
  ThawInitProfile.start(thaw_began) if ENV["THAW_PROFILE"] != "off"
rescue StandardError
  nil # the function comes first, and it may even do without its profile
end
