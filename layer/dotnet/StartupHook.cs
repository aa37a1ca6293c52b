// Writes down which assembly .NET loaded when, as layer/HOOKS.md describes.
//
// DOTNET_STARTUP_HOOKS=/opt/thaw/dotnet/Thaw.StartupHook.dll has the runtime call
// StartupHook.Initialize before Main. The class has to have that name, and no
// namespace. There is no event before an assembly is loaded, so a record begins
// where the one before ended: its time is what passed since, approximate (flag a),
// and what is compiled and run in between is in it.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Reflection;
using System.Text;

internal static class StartupHook
{
    const int MaxRecords = 4096;
    const int MaxText = 256;
    const string Trace = "_X_AMZN_TRACE_ID";

    static readonly object Gate = new();
    static readonly StringBuilder Pending = new();
    static readonly HashSet<string> Seen = new();
    static long origin, last, cost, flushed;
    static int count;
    static bool off;
    static string firstTrace;
    static FileStream file;

    public static void Initialize()
    {
        long began = Stopwatch.GetTimestamp();
        try
        {
            Restore();
            if (Environment.GetEnvironmentVariable("THAW_PROFILE") == "off") return;
            origin = last = began;
            Open();
            AppDomain.CurrentDomain.AssemblyLoad += OnLoad;
            AppDomain.CurrentDomain.ProcessExit += OnExit;
            cost += Micros(Stopwatch.GetTimestamp() - began);
        }
        catch (Exception)
        {
            Stop(); // the function comes first
        }
    }

    // Children do not inherit the hook.
    static void Restore()
    {
        const string name = "DOTNET_STARTUP_HOOKS";
        string own = typeof(StartupHook).Assembly.Location;
        var rest = new List<string>();
        foreach (string hook in (Environment.GetEnvironmentVariable(name) ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries))
        {
            if (hook != own) rest.Add(hook);
        }
        Environment.SetEnvironmentVariable(name, rest.Count == 0 ? null : string.Join(Path.PathSeparator, rest));
    }

    static void Open()
    {
        string folder = Environment.GetEnvironmentVariable("THAW_PROFILE_DIR");
        if (string.IsNullOrEmpty(folder)) folder = "/tmp/.thaw";
        const UnixFileMode private700 = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        DirectoryInfo info = Directory.CreateDirectory(folder, private700);
        if (info.LinkTarget != null) throw new IOException();
        long unix = (DateTime.UtcNow.Ticks - DateTime.UnixEpoch.Ticks) / 10 - Micros(Stopwatch.GetTimestamp() - origin);
        file = new FileStream(Path.Combine(folder, $"init-{Environment.ProcessId}-{unix / 1000}.tsv"), new FileStreamOptions
        {
            Mode = FileMode.CreateNew, Access = FileAccess.Write, Share = FileShare.Read, BufferSize = 0,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        });
        using Process self = Process.GetCurrentProcess();
        long age = (DateTime.Now - self.StartTime).Ticks / 10;
        Pending.Append($"thaw-init\t1\tdotnet\t{Environment.Version}\t{Environment.ProcessId}\t{unix}\n");
        Pending.Append($"m\thook\tdotnet/1\nm\tprocess_start\t{-age}\nm\tbootstrap\t0\n");
    }

    static void OnLoad(object sender, AssemblyLoadEventArgs args)
    {
        long began = Stopwatch.GetTimestamp();
        try
        {
            lock (Gate)
            {
                if (off) return;
                string flags = "a";
                string trace = Environment.GetEnvironmentVariable(Trace);
                if (trace != null)
                {
                    firstTrace ??= trace;
                    if (trace != firstTrace) { Stop(); return; } // the second invocation
                    flags = "la";
                }
                Record(args.LoadedAssembly, flags, began);
                cost += Micros(Stopwatch.GetTimestamp() - began);
                // An init that is killed still says how far it was.
                if (flags == "la" || Micros(began - flushed) > 100_000) Flush();
                last = Stopwatch.GetTimestamp();
            }
        }
        catch (Exception)
        {
            Stop();
        }
    }

    static void Record(Assembly assembly, string flags, long now)
    {
        string name = assembly.FullName ?? "";
        if (count >= MaxRecords)
        {
            if (Seen.Add("truncated")) Pending.Append("m\ttruncated\t1\n");
            return;
        }
        string path = assembly.IsDynamic ? "" : assembly.Location;
        Pending.Append($"r\t{++count}\t0\tassembly\t{Micros(last - origin)}\t{Math.Max(1, Micros(now - origin))}\t0\t{flags}\t{Clean(name, false)}\t{Clean(path, true)}\n");
    }

    static void OnExit(object sender, EventArgs args) => Stop();

    static void Flush()
    {
        flushed = Stopwatch.GetTimestamp();
        Pending.Append($"m\thook_us\t{cost}\n");
        file.Write(Encoding.UTF8.GetBytes(Pending.ToString()));
        Pending.Clear();
        cost += Micros(Stopwatch.GetTimestamp() - flushed);
    }

    static void Stop()
    {
        lock (Gate)
        {
            if (off) return;
            off = true;
            try
            {
                AppDomain.CurrentDomain.AssemblyLoad -= OnLoad;
                AppDomain.CurrentDomain.ProcessExit -= OnExit;
                if (file != null) Flush();
                file?.Dispose();
            }
            catch (Exception)
            {
            }
        }
    }

    static long Micros(long ticks) => ticks * 1_000_000 / Stopwatch.Frequency;

    // Text as the wire has it: escaped, at most 256 bytes.
    static string Clean(string text, bool keepEnd)
    {
        while (true)
        {
            string escaped = text.Replace("\\", "\\\\").Replace("\t", "\\t").Replace("\n", "\\n").Replace("\r", "\\r");
            if (Encoding.UTF8.GetByteCount(escaped) <= MaxText) return escaped;
            text = keepEnd ? text[1..] : text[..^1];
        }
    }
}
