package peers

func sipWorks() []Work { return nil }
