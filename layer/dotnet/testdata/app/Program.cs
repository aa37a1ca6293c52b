System.Console.WriteLine(System.Text.Json.JsonSerializer.Serialize(new { Hooks = System.Environment.GetEnvironmentVariable("DOTNET_STARTUP_HOOKS") }));
